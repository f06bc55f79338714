//! Published model files: where their bytes come from, what they declare, and how they become kernel layouts.
