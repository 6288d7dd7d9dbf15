"""Any model by the name that a user has for it: found, restored, exported, embedded with,
registered."""
