//! Runs `converge_lang::fuzz::names` on the inputs of libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| converge_lang::fuzz::names(text));
