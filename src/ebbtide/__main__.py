"""python -m ebbtide: the command line, also for launchers that start modules (torchrun -m ebbtide train ...)."""

from ebbtide.cli.main import main

if __name__ == "__main__":
    main()
