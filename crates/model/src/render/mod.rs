//! What is sent to a box, as text.
