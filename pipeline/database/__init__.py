"""The dev database: a connection, the ledger, locks."""
