//! The system as its users meet it: real processes, real clients, text files of SQL. One binary, as linking it is slow.

mod bad_input;
mod clients;
mod harness;
mod slt;
