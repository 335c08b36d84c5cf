//! Enums whose values have names: one table of both.

/// The enum with `ALL` its values in their order, and `name`, which is what it is displayed as.
macro_rules! named {
    ($(#[$about:meta])* $vis:vis enum $enum:ident { $($(#[$of:meta])* $value:ident = $name:literal,)* }) => {
        $(#[$about])*
        $vis enum $enum {
            $($(#[$of])* $value,)*
        }

        #[allow(dead_code, reason = "not every one of them is listed")]
        impl $enum {
            $vis const ALL: [Self; [$($name),*].len()] = [$(Self::$value),*];

            $vis fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)*
                }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}
