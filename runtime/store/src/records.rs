//! What images there are, what they are called, and what leads where.

use image::Digest;
use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, Params, Row, Transaction, params};

use crate::db::{self, Durability, Fault, number};
use crate::error::{Error, Result};
use crate::layout::now;
use crate::root::Store;

/// What a commit writes beside the content.
#[derive(Debug, Default, Clone)]
pub struct Records {
    /// Images; one that is known is replaced. Its names that had no manifest lead to the one that it has got.
    pub images: Vec<ImageRecord>,
    /// Names; one that is taken moves.
    pub names: Vec<NewName>,
    /// What digests of which repositories led to.
    pub digests: Vec<Pin>,
    /// Documents, and what they name: an index its manifests, a manifest its config and blobs. Not all of it need be here.
    pub links: Vec<(Digest, Digest)>,
    /// Diff ids, and blobs that unpack to them.
    pub packed: Vec<(Digest, Digest)>,
    /// Blobs, and canonical repositories that have them.
    pub seen: Vec<(Digest, String)>,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// The digest of its config; for an artifact that of its manifest.
    pub id: Digest,
    /// Its manifest; none when it was made here and never pushed.
    pub manifest: Option<Digest>,
    /// Its config; none for an artifact without one.
    pub config: Option<Digest>,
    /// The diff ids of its layers, the lowest first.
    pub layers: Vec<Digest>,
    /// When it was made, as its config says.
    pub created: Option<String>,
    /// What it is for, as `linux/arm64/v8`.
    pub platform: Option<String>,
    /// Bytes, as the caller counts them.
    pub size: u64,
}

/// A name to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewName {
    /// Canonical, with the tag.
    pub name: String,
    /// The image's id.
    pub image: Digest,
    /// The manifest that the name stands for, if there is one.
    pub manifest: Option<Digest>,
}

/// A name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Canonical, with the tag.
    pub name: String,
    /// The image's id.
    pub image: Digest,
    /// The manifest that the name stands for, if there is one.
    pub manifest: Option<Digest>,
    /// When it was given, in seconds since 1970.
    pub at: u64,
}

/// What a digest of a repository stands for: `name@digest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The canonical repository.
    pub repository: String,
    /// What was asked for: an index or a manifest.
    pub digest: Digest,
    /// The image's id.
    pub image: Digest,
    /// The manifest that it led to.
    pub manifest: Digest,
}

const IMAGES: &str = "SELECT id, manifest, config, created, platform, size FROM images";
const NAMES: &str = "SELECT name, image, manifest, at FROM names";
const PINS: &str = "SELECT repository, digest, image, manifest FROM pins";

impl Store {
    /// Returns all images, by id.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        self.images_where("ORDER BY id", params![])
    }

    /// Returns an image.
    pub fn image(&self, id: &Digest) -> Result<Option<ImageRecord>> {
        let found = self.images_where("WHERE id = ?", [id.to_string()])?;
        Ok(found.into_iter().next())
    }

    /// Returns the images whose id begins so; `sha256:` may stand before the digits.
    pub fn find_images(&self, prefix: &str) -> Result<Vec<Digest>> {
        let digits = prefix.split_once(':').map_or(prefix, |(_, digits)| digits);
        let algorithm = prefix.split_once(':').map(|(algorithm, _)| algorithm);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        let digits = digits.to_ascii_lowercase();
        let mut found: Vec<_> = self.images()?.into_iter().map(|image| image.id).collect();
        found.retain(|id| {
            algorithm.is_none_or(|algorithm| id.algorithm().name() == algorithm)
                && id.hex().starts_with(&digits)
        });
        Ok(found)
    }

    /// Forgets an image, its names and digests; tells whether it did: it was there, and had no name but `names`, if it matters which it has.
    /// Its content is removed by [`Store::collect`].
    pub fn remove_image(&self, id: &Digest, names: Option<&[String]>) -> Result<bool> {
        // Of what is removed the user is told: durably, and even when the disk is full.
        self.with_spare(|| {
            self.db().write(Durability::Now, |transaction| {
                let sql = "SELECT name FROM names WHERE image = ?";
                let mut select = transaction.prepare_cached(sql)?;
                let found = select.query_map([id.to_string()], |row| row.get(0))?;
                let found: Vec<String> = found.collect::<rusqlite::Result<_>>()?;
                let other = |name| !names.is_none_or(|names| names.contains(name));
                if found.iter().any(other) {
                    return Ok(false);
                }
                let sql = "DELETE FROM images WHERE id = ?";
                Ok(transaction.execute(sql, [id.to_string()])? > 0)
            })
        })
    }

    /// Returns all names, in order.
    pub fn names(&self) -> Result<Vec<Name>> {
        self.list(&format!("{NAMES} ORDER BY name"), params![], name)
    }

    /// Returns what a name stands for.
    pub fn name(&self, wanted: &str) -> Result<Option<Name>> {
        let found = self.list(&format!("{NAMES} WHERE name = ?"), [wanted], name)?;
        Ok(found.into_iter().next())
    }

    /// Returns the names of an image, in order.
    pub fn names_of(&self, image: &Digest) -> Result<Vec<Name>> {
        let sql = format!("{NAMES} WHERE image = ? ORDER BY name");
        self.list(&sql, [image.to_string()], name)
    }

    /// Gives a name to an image, and takes it from another; [`Error::Missing`] when the image is not there.
    pub fn set_name(&self, name: &str, image: &Digest, manifest: Option<&Digest>) -> Result<()> {
        let names = vec![NewName {
            name: name.to_owned(),
            image: *image,
            manifest: manifest.copied(),
        }];
        let records = Records {
            names,
            ..Records::default()
        };
        self.db()
            .write(Durability::Now, |transaction| write(transaction, &records))
    }

    /// Removes names of an image, and digests of repositories that led to it, and with the last of them the image, all or nothing; tells
    /// whether the image went.
    pub fn remove_names(
        &self,
        image: &Digest,
        names: &[String],
        pins: &[(String, Digest)],
    ) -> Result<bool> {
        let id = image.to_string();
        self.with_spare(|| {
            self.db().write(Durability::Now, |transaction| {
                untag(transaction, &id, names, pins)?;
                let sql = "DELETE FROM images WHERE id = ?1 AND id NOT IN (SELECT image FROM names) AND id NOT IN (SELECT image FROM pins)";
                Ok(transaction.execute(sql, [&id])? > 0)
            })
        })
    }

    /// Removes names of an image, and digests of repositories that led to it, all or nothing; the image stays, also without any.
    pub fn untag(&self, image: &Digest, names: &[String], pins: &[(String, Digest)]) -> Result<()> {
        let id = image.to_string();
        self.with_spare(|| {
            self.db().write(Durability::Now, |transaction| {
                untag(transaction, &id, names, pins)
            })
        })
    }

    /// Returns the digests of an image, by repository.
    pub fn digests_of(&self, image: &Digest) -> Result<Vec<Pin>> {
        let sql = format!("{PINS} WHERE image = ? ORDER BY repository, digest");
        self.list(&sql, [image.to_string()], pin)
    }

    /// Returns the digests of all images, by repository.
    pub fn pins(&self) -> Result<Vec<Pin>> {
        let sql = format!("{PINS} ORDER BY repository, digest");
        self.list(&sql, params![], pin)
    }

    /// Returns what a digest of a repository stands for.
    pub fn pin(&self, repository: &str, digest: &Digest) -> Result<Option<Pin>> {
        let sql = format!("{PINS} WHERE repository = ? AND digest = ?");
        let found = self.list(&sql, params![repository, digest.to_string()], pin)?;
        Ok(found.into_iter().next())
    }

    /// Returns what a document names.
    pub fn links_of(&self, document: &Digest) -> Result<Vec<Digest>> {
        let sql = "SELECT child FROM links WHERE parent = ? ORDER BY child";
        self.list(sql, [document.to_string()], |row| db::digest(row, 0))
    }

    /// Returns the blobs that are stored and unpack to a layer.
    pub fn packed_forms(&self, diff_id: &Digest) -> Result<Vec<Digest>> {
        let sql =
            "SELECT blob FROM packed JOIN blobs ON digest = blob WHERE layer = ? ORDER BY blob";
        self.list(sql, [diff_id.to_string()], |row| db::digest(row, 0))
    }

    /// Returns the diff id of the layer that a blob unpacks to, if that is known.
    pub fn unpacked_form(&self, blob: &Digest) -> Result<Option<Digest>> {
        let sql = "SELECT layer FROM packed WHERE blob = ? ORDER BY layer";
        let found = self.list(sql, [blob.to_string()], |row| db::digest(row, 0))?;
        Ok(found.into_iter().next())
    }

    /// Returns the repositories that are known to have a blob.
    pub fn seen(&self, blob: &Digest) -> Result<Vec<String>> {
        let sql = "SELECT repository FROM seen WHERE blob = ? ORDER BY repository";
        self.list(sql, [blob.to_string()], |row| row.get(0))
    }

    /// Returns where a killed push of a blob goes on.
    pub fn upload(&self, repository: &str, blob: &Digest) -> Result<Option<String>> {
        self.db().read(|transaction| {
            let sql = "SELECT session FROM uploads WHERE repository = ? AND blob = ?";
            let mut query = transaction.prepare_cached(sql)?;
            let found = query.query_row(params![repository, blob.to_string()], |row| row.get(0));
            Ok(found.optional()?)
        })
    }

    /// Remembers where a push of a blob goes on if it is killed, or forgets it.
    pub fn set_upload(&self, repository: &str, blob: &Digest, session: Option<&str>) -> Result<()> {
        let blob = blob.to_string();
        match session {
            Some(session) => self.note(
                "INSERT OR REPLACE INTO uploads (repository, blob, session, at) VALUES (?, ?, ?, ?)",
                params![repository, blob, session, number(now())],
            ),
            None => self.note(
                "DELETE FROM uploads WHERE repository = ? AND blob = ?",
                params![repository, blob],
            ),
        }
    }

    fn images_where(&self, rest: &str, values: impl Params + Clone) -> Result<Vec<ImageRecord>> {
        self.db().read(|transaction| {
            let mut query = transaction.prepare_cached(&format!("{IMAGES} {rest}"))?;
            let found = query.query_map(values.clone(), image)?;
            let mut images = found.collect::<rusqlite::Result<Vec<_>>>()?;
            let sql = "SELECT layer FROM image_layers WHERE image = ? ORDER BY position";
            let mut query = transaction.prepare_cached(sql)?;
            for image in &mut images {
                let layers = query.query_map([image.id.to_string()], |row| db::digest(row, 0))?;
                image.layers = layers.collect::<rusqlite::Result<_>>()?;
            }
            Ok(images)
        })
    }

    fn list<T>(
        &self,
        sql: &str,
        values: impl Params + Clone,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.db().read(|transaction| {
            let mut query = transaction.prepare_cached(sql)?;
            let found = query.query_map(values.clone(), &read)?;
            Ok(found.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn note(&self, sql: &str, values: impl Params + Clone) -> Result<()> {
        self.db().write(Durability::Kill, |transaction| {
            transaction.prepare_cached(sql)?.execute(values.clone())?;
            Ok(())
        })
    }
}

/// Writes records; what they lead to must be there by now.
pub(crate) fn write(
    transaction: &Transaction<'_>,
    records: &Records,
) -> std::result::Result<(), Fault> {
    for image in &records.images {
        write_image(transaction, image)?;
    }
    let insert = |sql: &str, values: &[Value]| -> rusqlite::Result<usize> {
        let values = rusqlite::params_from_iter(values);
        transaction.prepare_cached(sql)?.execute(values)
    };
    for new in &records.names {
        require(transaction, "image", &new.image)?;
        new.manifest
            .map_or(Ok(()), |manifest| require(transaction, "blob", &manifest))?;
        let manifest = new.manifest.map(|manifest| manifest.to_string());
        let (name, image) = (new.name.clone(), new.image.to_string());
        let sql = "INSERT OR REPLACE INTO names (name, image, manifest, at) VALUES (?, ?, ?, ?)";
        let at = Value::from(number(now()));
        insert(sql, &[name.into(), image.into(), manifest.into(), at])?;
    }
    for pin in &records.digests {
        require(transaction, "image", &pin.image)?;
        require(transaction, "blob", &pin.manifest)?;
        let [digest, image, manifest] =
            [pin.digest, pin.image, pin.manifest].map(|digest| Value::from(digest.to_string()));
        let repository = pin.repository.clone().into();
        let sql =
            "INSERT OR REPLACE INTO pins (repository, digest, image, manifest) VALUES (?, ?, ?, ?)";
        insert(sql, &[repository, digest, image, manifest])?;
    }
    let links = "INSERT OR IGNORE INTO links (parent, child) VALUES (?, ?)";
    let packed = "INSERT OR IGNORE INTO packed (layer, blob) VALUES (?, ?)";
    for (sql, pairs) in [(links, &records.links), (packed, &records.packed)] {
        for (one, other) in pairs {
            insert(sql, &[one.to_string().into(), other.to_string().into()])?;
        }
    }
    for (blob, repository) in &records.seen {
        let sql = "INSERT OR IGNORE INTO seen (blob, repository) VALUES (?, ?)";
        insert(sql, &[blob.to_string().into(), repository.clone().into()])?;
    }
    Ok(())
}

fn untag(
    transaction: &Transaction<'_>,
    image: &str,
    names: &[String],
    pins: &[(String, Digest)],
) -> std::result::Result<(), Fault> {
    for name in names {
        let sql = "DELETE FROM names WHERE name = ? AND image = ?";
        transaction.execute(sql, [name, image])?;
    }
    for (repository, digest) in pins {
        let sql = "DELETE FROM pins WHERE repository = ? AND digest = ? AND image = ?";
        transaction.execute(sql, [repository, &digest.to_string(), image])?;
    }
    Ok(())
}

fn write_image(
    transaction: &Transaction<'_>,
    image: &ImageRecord,
) -> std::result::Result<(), Fault> {
    for document in image.manifest.iter().chain(&image.config) {
        require(transaction, "blob", document)?;
    }
    let id = image.id.to_string();
    // An image made here has no manifest until its first push, and does not lose it by being made again. Not REPLACE, which would
    // delete the old row, and its names with it.
    transaction.execute(
        "INSERT INTO images (id, manifest, config, created, platform, size, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET manifest = coalesce(?2, manifest), config = ?3, created = ?4, platform = ?5, size = ?6",
        params![
            id,
            image.manifest.map(|digest| digest.to_string()),
            image.config.map(|digest| digest.to_string()),
            image.created,
            image.platform,
            number(image.size),
            number(now()),
        ],
    )?;
    if let Some(manifest) = image.manifest {
        // As the names are by now: one that was moved meanwhile stays where it is.
        let sql = "UPDATE names SET manifest = ?2 WHERE image = ?1 AND manifest IS NULL";
        transaction.execute(sql, params![id, manifest.to_string()])?;
    }
    transaction.execute("DELETE FROM image_layers WHERE image = ?", [&id])?;
    let sql = "INSERT INTO image_layers (image, position, layer) VALUES (?, ?, ?)";
    let mut insert = transaction.prepare_cached(sql)?;
    for (position, layer) in image.layers.iter().enumerate() {
        require(transaction, "layer", layer)?;
        insert.execute(params![id, number(position as u64), layer.to_string()])?;
    }
    Ok(())
}

/// Refuses to lead to what is not there.
fn require(
    transaction: &Transaction<'_>,
    what: &str,
    digest: &Digest,
) -> std::result::Result<(), Fault> {
    let sql = match what {
        "blob" => "SELECT 1 FROM blobs WHERE digest = ?",
        "layer" => "SELECT 1 FROM layers WHERE digest = ?",
        _ => "SELECT 1 FROM images WHERE id = ?",
    };
    let mut query = transaction.prepare_cached(sql)?;
    if query.exists([digest.to_string()])? {
        return Ok(());
    }
    Err(Error::missing(what, digest).into())
}

fn image(row: &Row<'_>) -> rusqlite::Result<ImageRecord> {
    Ok(ImageRecord {
        id: db::digest(row, 0)?,
        manifest: db::digest_or_none(row, 1)?,
        config: db::digest_or_none(row, 2)?,
        layers: Vec::new(),
        created: row.get(3)?,
        platform: row.get(4)?,
        size: db::count(row, 5)?,
    })
}

fn name(row: &Row<'_>) -> rusqlite::Result<Name> {
    Ok(Name {
        name: row.get(0)?,
        image: db::digest(row, 1)?,
        manifest: db::digest_or_none(row, 2)?,
        at: db::count(row, 3)?,
    })
}

fn pin(row: &Row<'_>) -> rusqlite::Result<Pin> {
    Ok(Pin {
        repository: row.get(0)?,
        digest: db::digest(row, 1)?,
        image: db::digest(row, 2)?,
        manifest: db::digest(row, 3)?,
    })
}
