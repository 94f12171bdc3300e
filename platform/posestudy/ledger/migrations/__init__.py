"""Alembic's environment for the ledger: run by `posestudy.ledger.migrate`, never by hand."""
