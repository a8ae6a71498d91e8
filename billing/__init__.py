"""Plans, prepaid credits, the ledger, the five-minute charge."""
