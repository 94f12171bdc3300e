"""The ledger's migrations, one module a revision, oldest first."""
