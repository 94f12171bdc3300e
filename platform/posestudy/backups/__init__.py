"""Backups of a live home: the ledger at one moment and the files it points at, whole or not there at all."""
