"""What a user reads of a run.

- `terminal.py`: the progress bar, and the table that is printed at the end.
- `report.py`: `report.html`, one file that opens without a network; its template, style and scripts are in `pages/`.
- `caveats.py`: the notes that must accompany the figures.
"""
