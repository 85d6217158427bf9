"""Sample arguments for every primitive of the registry."""
