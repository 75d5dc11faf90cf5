//! Is everything there that the database names, and nothing else?
//!
//! What a kill can leave is harmless, and the next collect removes it. What is not harmless was done by somebody else: a disk that lost
//! something, a hand that removed it. The content itself is not read here.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use image::Digest;

use crate::collect::Collect;
use crate::db::{self, Durability};
use crate::error::{Absent, At, Result};
use crate::layout::{
    CONTAINERS, DATABASE, DIRS, LAYERS, LISTS, PUBLISH, READY, SPARE, TRASH_LOCK, UNPACK, VERSION,
};
use crate::lock::{LOCK, Lock, make_dir};
use crate::root::{Store, fill_spare, names_in, sync_dir};
use crate::trash::Bin;
use crate::unpacking::FS;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is about: `layer sha256:..`.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// What a repair does, or did: `forgets the image`.
    pub repair: String,
    /// Whether it was left by a kill, so that nothing is lost and the next collect removes it.
    pub harmless: bool,
    /// Whether it was repaired.
    pub repaired: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.repaired {
            "repaired:"
        } else {
            "--repair"
        };
        let harmless = if self.harmless { " (harmless)" } else { "" };
        let (object, what) = (&self.object, &self.what);
        write!(f, "{object}: {what}{harmless}; {verb} {}", self.repair)
    }
}

/// What a repair does to the rows.
type Cure = (&'static str, Vec<String>);

/// What is lost, and what lies in its place.
#[derive(Debug, Default)]
struct Lost {
    digests: HashSet<Digest>,
    places: Vec<PathBuf>,
}

const FORGET_IMAGE: &str = "DELETE FROM images WHERE id = ?";

impl Store {
    /// Returns what is wrong, and puts it right if asked to: what is broken is forgotten, so that the next pull fetches it.
    pub fn check(&self, repair: bool) -> Result<Vec<Problem>> {
        let flaws = self.db().flaws()?;
        if !flaws.is_empty() {
            let flaws = flaws.into_iter();
            return Ok(flaws.map(|flaw| self.flaw(&flaw)).collect());
        }
        let mut problems = Vec::new();
        {
            let _alone = self.alone()?;
            self.check_places(repair, &mut problems)?;
            let mut cures = Vec::new();
            let lost = self.check_content(&mut problems, &mut cures)?;
            self.check_names(&lost.digests, &mut problems, &mut cures)?;
            if repair {
                // Before the rows: what is at a final name without one is taken for whole by whoever asks next.
                self.throw_away(&lost.places)?;
                self.db().write(Durability::Now, |transaction| {
                    for (sql, values) in &cures {
                        transaction.execute(sql, rusqlite::params_from_iter(values))?;
                    }
                    Ok(())
                })?;
            }
            self.check_leftovers(&mut problems)?;
        }
        if repair {
            self.collect(Collect::default())?;
            problems
                .iter_mut()
                .for_each(|problem| problem.repaired = !problem.repair.starts_with("leaves"));
        }
        Ok(problems)
    }

    fn throw_away(&self, places: &[PathBuf]) -> Result<()> {
        let mut bin = Bin::new(self);
        for place in places {
            bin.take(place, None)?;
            place.parent().map_or(Ok(()), sync_dir)?;
        }
        Ok(())
    }

    fn flaw(&self, flaw: &str) -> Problem {
        Problem {
            object: self.layout().at(DATABASE).display().to_string(),
            what: flaw.to_lowercase(),
            repair: "leaves it alone: put it back from a copy, or begin anew".to_owned(),
            harmless: false,
            repaired: false,
        }
    }

    /// Our directories are there, and nobody else's.
    fn check_places(&self, repair: bool, problems: &mut Vec<Problem>) -> Result<()> {
        for dir in DIRS {
            let path = self.layout().at(dir);
            if path.is_dir() {
                continue;
            }
            problems.push(serious(path.display(), "missing", "makes it"));
            if repair {
                make_dir(&path)?;
            }
        }
        let spare = self.layout().at(SPARE);
        if !spare.exists() {
            let what = "missing, so that removing needs room on a full disk";
            problems.push(harmless(spare.display(), what, "makes it"));
            if repair {
                fill_spare(self.root())?;
            }
        }
        for name in names_in(self.root())? {
            let name = name.to_string_lossy();
            let files = [VERSION, SPARE, PUBLISH, TRASH_LOCK, LISTS, "version.new"];
            let ours =
                DIRS.contains(&&*name) || files.contains(&&*name) || name.starts_with(DATABASE);
            if !ours {
                let path = self.layout().at(&name);
                problems.push(harmless(
                    path.display(),
                    "not of this store",
                    "leaves it alone",
                ));
            }
        }
        Ok(())
    }

    /// What has a row has a file. Returns what is lost.
    fn check_content(&self, problems: &mut Vec<Problem>, cures: &mut Vec<Cure>) -> Result<Lost> {
        let mut lost = Lost::default();
        for (digest, size) in self.rows("SELECT digest, size FROM blobs ORDER BY digest")? {
            let path = self.layout().blob(&digest);
            let found = fs::symlink_metadata(&path).absent().at(&path)?;
            let what = match found {
                None => "its file is missing".to_owned(),
                Some(found) if found.is_file() && found.len() == size => continue,
                Some(found) => format!("its file has {} bytes and not {size}", found.len()),
            };
            let object = format!("blob {digest}");
            problems.push(serious(object, what, "forgets it"));
            cures.push((
                "DELETE FROM blobs WHERE digest = ?",
                vec![digest.to_string()],
            ));
            lost.digests.insert(digest);
            lost.places.push(path);
        }
        for (digest, _) in self.rows("SELECT digest, disk FROM layers ORDER BY digest")? {
            let path = self.layout().layer(&digest).join(FS);
            let found = fs::symlink_metadata(&path).absent().at(&path)?;
            if found.is_some_and(|found| found.is_dir()) {
                continue;
            }
            let object = format!("layer {digest}");
            problems.push(serious(object, "its directory is missing", "forgets it"));
            cures.push((
                "DELETE FROM layers WHERE digest = ?",
                vec![digest.to_string()],
            ));
            lost.digests.insert(digest);
            lost.places.push(self.layout().layer(&digest));
        }
        Ok(lost)
    }

    /// What images and names lead to is there.
    fn check_names(
        &self,
        lost: &HashSet<Digest>,
        problems: &mut Vec<Problem>,
        cures: &mut Vec<Cure>,
    ) -> Result<()> {
        let blobs = self.present("SELECT digest, size FROM blobs", lost)?;
        let layers = self.present("SELECT digest, disk FROM layers", lost)?;
        let mut broken = HashSet::new();
        for image in self.images()? {
            let documents = image.manifest.iter().chain(&image.config);
            let documents = documents.filter(|digest| !blobs.contains(digest));
            let gone = documents.map(|digest| format!("blob {digest}"));
            let layers_gone = image.layers.iter().filter(|layer| !layers.contains(layer));
            let gone: Vec<_> = gone
                .chain(layers_gone.map(|layer| format!("layer {layer}")))
                .collect();
            let Some(first) = gone.first() else {
                continue;
            };
            let names: Vec<_> = self.names_of(&image.id)?;
            let names: Vec<_> = names.into_iter().map(|name| name.name).collect();
            let what = match names.as_slice() {
                [] => format!("its {first} is missing"),
                names => format!("({}) its {first} is missing", names.join(", ")),
            };
            let object = format!("image {}", image.id);
            // One that was pulled or pushed is known by a digest of its repository.
            let repair = if self.digests_of(&image.id)?.is_empty() {
                "forgets the image, which nothing can bring back: no registry is known to have it"
            } else {
                "forgets the image, and a pull fetches what is missing"
            };
            problems.push(serious(object, what, repair));
            cures.push((FORGET_IMAGE, vec![image.id.to_string()]));
            broken.insert(image.id);
        }
        for name in self.names()? {
            let gone = name.manifest.filter(|manifest| !blobs.contains(manifest));
            if let Some(manifest) = gone
                && !broken.contains(&name.image)
            {
                let what = format!("its manifest {manifest} is missing");
                problems.push(serious(
                    format!("name {}", name.name),
                    what,
                    "forgets the name",
                ));
                cures.push(("DELETE FROM names WHERE name = ?", vec![name.name]));
            }
        }
        for pin in self.pins()? {
            if !blobs.contains(&pin.manifest) && !broken.contains(&pin.image) {
                let object = format!("{}@{}", pin.repository, pin.digest);
                let what = format!("its manifest {} is missing", pin.manifest);
                problems.push(serious(object, what, "forgets the digest"));
                let sql = "DELETE FROM pins WHERE repository = ? AND digest = ?";
                cures.push((sql, vec![pin.repository, pin.digest.to_string()]));
            }
        }
        Ok(())
    }

    /// What killed processes have left.
    fn check_leftovers(&self, problems: &mut Vec<Problem>) -> Result<()> {
        let trash = "moves it to the trash";
        for (_, object) in self.leftovers()? {
            problems.push(harmless(object, "complete, but nothing names it", trash));
        }
        for (id, _lock) in self.leases()?.dead {
            let object = format!("lease {id}");
            problems.push(harmless(
                object,
                "a note that a killed command left",
                "forgets it",
            ));
        }
        for place in [CONTAINERS, UNPACK] {
            let dir = self.layout().at(place);
            for name in names_in(&dir)? {
                let path = dir.join(&name);
                // One without the file is being made, or cleared.
                if let Some(_lock) = Lock::attempt_existing(&path.join(LOCK))? {
                    problems.push(harmless(path.display(), "left by a killed command", trash));
                }
            }
        }
        let ready = self.layout().at(READY);
        for boot in names_in(&ready)? {
            if boot.as_os_str() == self.layout().boot.as_str() {
                continue;
            }
            let dir = ready.join(&boot).join(LAYERS);
            for name in names_in(&dir)? {
                let path = dir.join(&name);
                problems.push(harmless(
                    path.display(),
                    "unpacked before the last boot",
                    trash,
                ));
            }
        }
        Ok(())
    }

    fn rows(&self, sql: &str) -> Result<Vec<(Digest, u64)>> {
        self.db().read(|transaction| {
            let mut query = transaction.prepare_cached(sql)?;
            let rows = query.query_map([], |row| Ok((db::digest(row, 0)?, db::count(row, 1)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn present(&self, sql: &str, lost: &HashSet<Digest>) -> Result<HashSet<Digest>> {
        let rows = self.rows(sql)?.into_iter().map(|(digest, _)| digest);
        Ok(rows.filter(|digest| !lost.contains(digest)).collect())
    }
}

fn serious(object: impl fmt::Display, what: impl Into<String>, repair: &str) -> Problem {
    Problem {
        object: object.to_string(),
        what: what.into(),
        repair: repair.to_owned(),
        harmless: false,
        repaired: false,
    }
}

fn harmless(object: impl fmt::Display, what: &str, repair: &str) -> Problem {
    Problem {
        harmless: true,
        ..serious(object, what, repair)
    }
}
