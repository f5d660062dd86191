//! Converts the SVG to PNG with an embedded font, so a machine without fonts draws the same picture.

use std::sync::Arc;

use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree, fontdb},
};

/// The reason why the PNG cannot be created.
#[derive(Debug, thiserror::Error)]
pub(in crate::simulate) enum PngError {
    /// The SVG is invalid; this would be a bug in Ebb.
    #[error("cannot read the SVG back: {0}")]
    Svg(#[from] resvg::usvg::Error),
    /// The picture has no area.
    #[error("the picture is empty")]
    Empty,
    /// The PNG cannot be encoded.
    #[error("cannot encode: {0}")]
    Encode(String),
}

/// Renders `svg` at its own size in pixels.
pub(super) fn render(svg: &str) -> Result<Vec<u8>, PngError> {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(notosans::REGULAR_TTF.to_vec());
    fonts.set_sans_serif_family("Noto Sans");
    let options = Options {
        fontdb: Arc::new(fonts),
        ..Options::default()
    };
    let tree = Tree::from_str(svg, &options)?;
    let size = tree.size().to_int_size();
    let mut pixels = Pixmap::new(size.width(), size.height()).ok_or(PngError::Empty)?;
    resvg::render(&tree, Transform::identity(), &mut pixels.as_mut());
    pixels
        .encode_png()
        .map_err(|error| PngError::Encode(error.to_string()))
}
