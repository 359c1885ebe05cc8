//! The line of a mount in `/etc/fstab`: fstab(5). All other lines keep their bytes.

use std::path::{Path, PathBuf};

use converge_model::{Extent, Shown};

use super::options::Options;
use super::table::{escape, unescape};
use crate::kit::edited_file::{Edit, Part, Target};
use crate::kit::lines::Lines;
use crate::wish::Text;

/// The desired line.
pub(super) struct Line {
    target: Target,
    path: String,
    /// The source. None if there should be no line.
    source: Option<String>,
    fstype: String,
    options: Vec<Text>,
    dump: u8,
    pass: u8,
}

impl Line {
    /// The line for `path`; `numbers` are its last two fields.
    pub(super) fn new(
        path: &Path,
        source: Option<String>,
        fstype: String,
        options: Vec<Text>,
        (dump, pass): (u8, u8),
    ) -> Self {
        let secret = options.iter().any(Text::is_secret);
        let path = path.to_string_lossy().into_owned();
        Self { target: Target::of("/etc/fstab", secret), path, source, fstype, options, dump, pass }
    }

    pub(super) const fn is_absent(&self) -> bool {
        self.source.is_none()
    }

    pub(super) fn source(&self) -> &str {
        self.source.as_deref().unwrap_or_default()
    }

    pub(super) fn shown_source(&self) -> String {
        format!("{} ({})", self.source(), self.fstype)
    }

    pub(super) fn fstype(&self) -> &str {
        &self.fstype
    }

    /// The options of the line.
    pub(super) fn options(&self) -> Options {
        Options::of(&self.options)
    }

    /// The first line for this place in the text of an fstab(5).
    pub(super) fn of_text(&self, text: &[u8]) -> Option<Self> {
        let lines = Lines::of(text);
        let fields = lines.iter().find(|line| self.is_own(line)).map(fields)?;
        let [source, path, fstype, options, ..] = fields.as_slice() else { return None };
        let options = options.split(',').map(|option| Text::Plain(option.to_owned())).collect();
        Some(Self::new(Path::new(path), Some(source.clone()), fstype.clone(), options, (0, 0)))
    }

    fn text(&self) -> Vec<u8> {
        let options = match self.options.as_slice() {
            [] => b"defaults".to_vec(),
            options => options.iter().map(Text::expose).collect::<Vec<_>>().join(&b","[..]),
        };
        let numbers = format!("{} {}", self.dump, self.pass).into_bytes();
        let fields = [
            escape(self.source().as_bytes()),
            escape(self.path.as_bytes()),
            self.fstype.clone().into_bytes(),
            escape(&options),
            numbers,
        ];
        fields.join(&b' ')
    }

    fn is_own(&self, line: &[u8]) -> bool {
        // A trailing slash and doubled slashes name the same place.
        fields(line)
            .get(1)
            .is_some_and(|path| path.starts_with('/') && Path::new(path) == Path::new(&self.path))
    }
}

impl Part for Line {
    fn target(&self) -> &Target {
        &self.target
    }

    fn edit(&self, text: &[u8]) -> Edit {
        let mut lines = Lines::of(text);
        let own = lines.iter().position(|line| self.is_own(line));
        if self.is_absent() {
            lines.retain(|line| !self.is_own(line));
        } else {
            let wanted = self.text();
            // Remove further lines for the place: they would be mounted over the first.
            let mut earlier = 0;
            lines.retain(|line| {
                earlier += usize::from(self.is_own(line));
                earlier < 2 || !self.is_own(line)
            });
            match own {
                Some(at) if fields(lines.get(at)) == fields(&wanted) => {}
                Some(at) => lines.set(at, &wanted),
                None => lines.insert(lines.count(), &wanted),
            }
        }
        let new = lines.join();
        if new == text { Edit::Kept("its line is as asked".to_owned()) } else { Edit::New(new) }
    }

    fn absent(&self) -> bool {
        self.is_absent()
    }

    fn shown(&self) -> Shown {
        match (self.is_absent(), self.target.secret) {
            (true, _) => Shown::Absent,
            (false, true) => Shown::Masked,
            (false, false) => Shown::Text(String::from_utf8_lossy(&self.text()).into_owned()),
        }
    }
}

/// The part of `/etc/fstab` for this line. A mount would claim it.
pub fn part_of(line: &str) -> Option<Extent> {
    let place = fields(line.as_bytes()).into_iter().nth(1).filter(|place| place.starts_with('/'))?;
    Some(Extent::Part(Path::new(&place).components().collect::<PathBuf>().to_string_lossy().into_owned()))
}

/// The fields of a line; the last two have defaults. Empty for a comment or an empty line.
fn fields(line: &[u8]) -> Vec<String> {
    let line = String::from_utf8_lossy(line);
    let mut fields: Vec<_> = line.split_ascii_whitespace().map(unescape).collect();
    if fields.first().is_none_or(|first| first.starts_with('#')) {
        return Vec::new();
    }
    while (4..6).contains(&fields.len()) {
        fields.push("0".to_owned());
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str, source: Option<&str>, options: &[&str]) -> Line {
        let options = options.iter().map(|option| Text::Plain((*option).to_owned())).collect();
        Line::new(path.as_ref(), source.map(str::to_owned), "ext4".into(), options, (0, 2))
    }

    #[test]
    fn only_the_own_line_changes() {
        let check = |line: &Line, before: &str, after: Option<&str>| {
            let new = match line.edit(before.as_bytes()) {
                Edit::New(new) => Some(String::from_utf8(new).unwrap()),
                Edit::Kept(_) => None,
                Edit::Refused(why) => panic!("{why}"),
            };
            assert_eq!(new.as_deref(), after);
        };
        let data = line("/data", Some("/dev/vdb"), &["noatime"]);
        check(&data, "", Some("/dev/vdb /data ext4 noatime 0 2\n"));
        check(&data, "# /data\n/dev/vdb\t/data\text4\tnoatime  0 2\n", None);
        check(
            &data,
            "# /data\n/dev/vdc /data xfs\n\n/dev/vda / ext4",
            Some("# /data\n/dev/vdb /data ext4 noatime 0 2\n\n/dev/vda / ext4"),
        );
        check(&data, "/dev/vda / ext4", Some("/dev/vda / ext4\n/dev/vdb /data ext4 noatime 0 2"));
        check(
            &data,
            "a /data/ ext4\n/dev/vda / ext4\nb /data xfs\n",
            Some("/dev/vdb /data ext4 noatime 0 2\n/dev/vda / ext4\n"),
        );
        check(&data, "/dev/vdb swap swap\n/dev/vdb /data ext4 noatime 0 2\n", None);
        check(&line("/data", None, &[]), "a /data ext4\nb / ext4\nc /data ext4\n", Some("b / ext4\n"));
        let spaced = line("/my data", Some("//server/my share"), &[]);
        check(&spaced, "", Some("//server/my\\040share /my\\040data ext4 defaults 0 2\n"));
        check(&spaced, "//server/my\\040share /my\\040data ext4 defaults 0 2\n", None);
    }

    #[test]
    fn the_line_that_is_there_is_read() {
        let old =
            line("/my data", None, &[]).of_text(b"# x\n//s/a\\040b /my\\040data/ cifs ro,uid=5\n").unwrap();
        assert_eq!((old.source(), old.fstype()), ("//s/a b", "cifs"));
        assert!(old.options().has("ro") && old.options().value("uid") == Some("5"));
        assert!(line("/data", None, &[]).of_text(b"/dev/vdb /data\n").is_none());
    }
}
