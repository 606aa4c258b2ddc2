"""The neutral rich text: to and from the contract's Markdown subset, cutting, splitting."""
