"""What a run leaves behind: records, pictures, figures, the report page; drawn from files, never by a model."""
