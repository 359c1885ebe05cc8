//! What is at the path of a `file`.

use converge_model::Digest;

use super::{State, Wish};
use crate::kit::attributes::{self, Asked};
use crate::system::files::Sort;
use crate::view::{LookError, Need, Place, Seen, View};
use crate::wish::Filling;

/// What was found.
pub struct Found {
    /// What is at the path.
    pub(super) place: Seen<Place>,
    /// The digest of the content, where the wish has one and a file is there.
    pub(super) digest: Option<Seen<Digest>>,
    /// The digest of the content that is asked.
    pub(super) wanted: Option<Digest>,
    /// The text that is there, where it differs and is short enough to be shown.
    pub(super) text: Option<Vec<u8>>,
    /// Mode and owner as asked.
    pub(super) asked: Asked,
    /// The folder that holds it.
    pub(super) folder: Need,
}

impl Found {
    /// Without the need for the folder: the kind makes it itself.
    pub(crate) fn without_folder(mut self) -> Self {
        self.folder = Need::Met;
        self
    }
    /// Whether nothing is at the path.
    pub(crate) fn is_new(&self) -> bool {
        !matches!(self.place, Seen::Known(_))
    }
}

/// Reads the path, and its content only where one is asked.
pub(super) fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
    let place = view.place(&wish.path)?;
    let wanted = wish.content.as_ref().map(|content| match content {
        Filling::Plain { digest, .. } => *digest,
        Filling::Secret(secret) => Digest::of(secret.expose()),
    });
    let file = matches!(&place, Seen::Known(place) if place.sort == Sort::File);
    let digest = match (file, wanted) {
        (true, Some(_)) => Some(view.digest(&wish.path)?),
        _ => None,
    };
    let differs = digest.as_ref().is_some_and(|seen| *seen != Seen::Known(wanted.unwrap_or(Digest::of(b""))));
    let text = if differs { short_text(view, wish, &place)? } else { None };
    let folder = match wish.state {
        State::Present => view.need_folder(wish.path.parent().unwrap_or(&wish.path))?,
        State::Absent => Need::Met,
    };
    Ok(Found { place, digest, wanted, text, asked: attributes::observe(view, &wish.attributes)?, folder })
}

fn short_text(view: &View<'_>, wish: &Wish, place: &Seen<Place>) -> Result<Option<Vec<u8>>, LookError> {
    let short = matches!(place, Seen::Known(place) if place.size <= converge_model::wire::TEXT_LIMIT);
    if short { Ok(view.text(&wish.path)?.known()) } else { Ok(None) }
}
