"""``python -m quest_backend`` is the ``quest-backend`` command."""

from quest_backend.cli import main

if __name__ == "__main__":
    main()
