//! One file per way to embed `forebay-core`: see the files beside this folder. This library is empty.
