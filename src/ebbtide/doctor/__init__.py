"""What is wrong, in plain words and with its number: data, schedule, records, weights, errors by level, samples."""

from ebbtide.doctor.finding import Finding, Verdict

__all__ = ["Finding", "Verdict"]
