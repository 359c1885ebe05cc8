//! Runs `converge_lang::fuzz::loader` on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| converge_lang::fuzz::loader(text));
