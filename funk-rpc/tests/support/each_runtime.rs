//! The tests of one file, each on either runtime.

/// Makes a test of each of these functions for tokio and for smol. They take
/// the runtime as their type parameter, and end when what is promised holds.
macro_rules! on_each_runtime {
    ($($test:ident)*) => {
        mod tokio_runtime {
            $(#[test]
            fn $test() {
                tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(super::$test::<funk_tokio::Tokio>());
            })*
        }
        mod smol_runtime {
            $(#[test]
            fn $test() {
                smol::block_on(super::$test::<funk_smol::Smol>());
            })*
        }
    };
}
