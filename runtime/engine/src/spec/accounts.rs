//! Who `user[:group]` is, by the image's own `/etc/passwd` and `/etc/group`.

use anyhow::{Result, anyhow, bail};

/// The image's files, as far as it has them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accounts<'a> {
    pub passwd: Option<&'a [u8]>,
    pub group: Option<&'a [u8]>,
}

/// Who runs a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// All groups, its own first: a group that a user is in must not be left by way of the others (CVE-2022-36109).
    pub groups: Vec<u32>,
}

const NO_USER: &str = "no matching entries in passwd file";
const NO_GROUP: &str = "no matching entries in group file";

/// Finds the user. A number needs no entry; the first entry that matches counts; an empty text is root.
pub(super) fn find(text: &str, accounts: Accounts<'_>) -> Result<User> {
    let mut parts = text.split(':');
    let (user, group) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let number = user.parse::<i64>().ok();
    let users = lines(accounts.passwd).filter_map(Entry::parse);
    let entry = users.into_iter().find(|entry| match (user, number) {
        ("", _) => entry.id == 0,
        (_, Some(number)) => entry.id == number,
        (name, None) => entry.name == name.as_bytes(),
    });
    let (uid, gid, name) = match (entry, number) {
        (Some(entry), _) => (id(entry.id)?, id(entry.rest_id().unwrap_or(0))?, entry.name),
        (None, _) if user.is_empty() => (0, 0, &b""[..]),
        (None, Some(number)) => (id(number)?, 0, &b""[..]),
        (None, None) => bail!("unable to find user {user}: {NO_USER}"),
    };
    if !group.is_empty() {
        let gid = find_group(group, accounts)?;
        let groups = vec![gid];
        return Ok(User { uid, gid, groups });
    }
    let mut groups = vec![gid];
    if !name.is_empty() {
        for entry in lines(accounts.group).filter_map(Entry::parse) {
            if entry.members().any(|member| member == name) {
                groups.push(id(entry.id)?);
            }
        }
    }
    Ok(User { uid, gid, groups })
}

fn find_group(text: &str, accounts: Accounts<'_>) -> Result<u32> {
    let number = text.parse::<i64>().ok();
    let mut groups = lines(accounts.group).filter_map(Entry::parse);
    let entry = groups.find(|entry| match number {
        Some(number) => entry.id == number,
        None => entry.name == text.as_bytes(),
    });
    match entry.map(|entry| entry.id).or(number) {
        Some(number) => id(number),
        None => bail!("unable to find group {text}: {NO_GROUP}"),
    }
}

fn id(number: i64) -> Result<u32> {
    let in_range = u32::try_from(number).ok().filter(|id| *id <= 0x7fff_ffff);
    in_range.ok_or_else(|| anyhow!("uids and gids must be in range 0-2147483647"))
}

fn lines(file: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    let lines = file.unwrap_or_default().split(|byte| *byte == b'\n');
    lines.map(<[u8]>::trim_ascii)
}

/// `name:password:id:rest`, as passwd(5) and group(5) have it.
struct Entry<'a> {
    name: &'a [u8],
    id: i64,
    rest: &'a [u8],
}

impl<'a> Entry<'a> {
    /// A line without a number names nobody.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(4, |byte| *byte == b':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        let id = std::str::from_utf8(id).ok()?.parse().ok()?;
        let rest = fields.next().unwrap_or_default();
        Some(Self { name, id, rest })
    }

    /// The group in a line of passwd.
    fn rest_id(&self) -> Option<i64> {
        let field = self.rest.split(|byte| *byte == b':').next()?;
        std::str::from_utf8(field).ok()?.parse().ok()
    }

    /// The users in a line of group.
    fn members(&self) -> impl Iterator<Item = &'a [u8]> {
        let field = self.rest.split(|byte| *byte == b':').next();
        field.unwrap_or_default().split(|byte| *byte == b',')
    }
}

#[cfg(test)]
mod tests {
    use super::{Accounts, find};

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n# a remark\n\n+::::::\n app:x:1000:1001::/home/app:\napp:x:7:7::/:\n8:x:9:9::/:\nhigh:x:4294967295:0::/:";
    const GROUP: &[u8] =
        b"root:x:0:\nbin:x:1:root,daemon\nwheel:x:10:app,root\nstaff:x:50:\napp:x:1001:\n50:x:51:";

    fn check(text: &str, want: Result<(u32, u32, &[u32]), &str>) {
        let accounts = Accounts {
            passwd: Some(PASSWD),
            group: Some(GROUP),
        };
        expect(text, accounts, want);
    }

    fn expect(text: &str, accounts: Accounts<'_>, want: Result<(u32, u32, &[u32]), &str>) {
        let found = find(text, accounts).map_err(|error| error.to_string());
        let found = found
            .as_ref()
            .map(|user| (user.uid, user.gid, user.groups.as_slice()))
            .map_err(String::as_str);
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn by_name_and_by_number() {
        check("", Ok((0, 0, &[0, 1, 10])));
        check("root", Ok((0, 0, &[0, 1, 10])));
        check("app", Ok((1000, 1001, &[1001, 10])));
        check("1000", Ok((1000, 1001, &[1001, 10])));
        check("1234", Ok((1234, 0, &[0])));
        // A number is never a name.
        check("8", Ok((8, 0, &[0])));
        check("app:staff", Ok((1000, 50, &[50])));
        check("app:50", Ok((1000, 50, &[50])));
        check("app:77", Ok((1000, 77, &[77])));
        check("1234:wheel", Ok((1234, 10, &[10])));
        check(":staff", Ok((0, 50, &[50])));
    }

    #[test]
    fn refused_in_dockers_words() {
        let range = "uids and gids must be in range 0-2147483647";
        check(
            "nobody",
            Err("unable to find user nobody: no matching entries in passwd file"),
        );
        check(
            "app:nobody",
            Err("unable to find group nobody: no matching entries in group file"),
        );
        check("99999999999", Err(range));
        check("-1", Err(range));
        check("high", Err(range));
        check("0:2147483648", Err(range));
        check(
            "99999999999999999999",
            Err("unable to find user 99999999999999999999: no matching entries in passwd file"),
        );
    }

    #[test]
    fn an_image_without_the_files_has_numbers() {
        let none = Accounts::default();
        expect("", none, Ok((0, 0, &[0])));
        expect("5:6", none, Ok((5, 6, &[6])));
        expect(
            "root",
            none,
            Err("unable to find user root: no matching entries in passwd file"),
        );
    }
}
