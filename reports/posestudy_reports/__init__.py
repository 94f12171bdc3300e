"""Reports: the frame of a study, its tables and figures, and the PDF."""
