//! Reads the path of a `file`.

use converge_model::Digest;

use super::{State, Wish};
use crate::kit::attributes::{self, Asked};
use crate::system::files::Sort;
use crate::view::{LookError, Need, Place, Seen, View};
use crate::wish::Filling;

/// The state of the host.
pub struct Found {
    /// The entry at the path.
    pub(super) place: Seen<Place>,
    /// The digest of the present content, if the wish has content and a file exists.
    pub(super) digest: Option<Seen<Digest>>,
    /// The digest of the desired content.
    pub(super) wanted: Option<Digest>,
    /// The present text, if it differs and is short enough to show.
    pub(super) text: Option<Vec<u8>>,
    /// The desired mode and owner.
    pub(super) asked: Asked,
    /// The folder that holds it.
    pub(super) folder: Need,
}

impl Found {
    /// Removes the need for the folder, because the kind makes it itself.
    pub(crate) fn without_folder(mut self) -> Self {
        self.folder = Need::Met;
        self
    }
    /// Whether the path does not exist.
    pub(crate) fn is_new(&self) -> bool {
        !matches!(self.place, Seen::Known(_))
    }
}

/// Reads the path. Reads its content only if the wish has content.
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
