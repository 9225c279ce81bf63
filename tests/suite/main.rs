//! The system as its users meet it: real processes, real clients, text files of SQL. One binary, as linking it is slow.

mod harness;
