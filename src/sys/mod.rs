//! What only the operating system knows. Each file asks it one kind of question, so that no other room does.

pub mod clock;
