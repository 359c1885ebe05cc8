//! Runs `converge_lang::fuzz::loader` on the inputs of libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| converge_lang::fuzz::loader(text));
