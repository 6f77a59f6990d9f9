//! The table of what authorization servers answer.
