//! An impaired path.
