"""Models by the names that users have for them: find, restore, export, embed, register."""
