//! Who is at fault, and what they are told: the codes that end sessions, requests and streams.
