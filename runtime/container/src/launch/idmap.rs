//! Bind sources whose ids are mapped, for a container with a user namespace.
//!
//! Two things are wanted of them, and no one process can have both in its own namespaces: their attributes are to be locked, hence
//! they are copied in the container's mount namespace, and their ids are to be mapped, which takes the host's privileges. So a
//! process with those enters the container's mount namespace and sends each copy to the child.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use sys::fs::{self, OFlag};
use sys::mount::{Loose, Propagation};
use sys::process::{self, Birth, Handle, Namespaces};

use super::mounts::lock;
use super::protocol::{At, Channel, Failure, Step, ToChild};
use crate::check::{Source, Terms};
use crate::idmap::Users;
use crate::plan::{Copier, Mount};

/// The parent's own descriptors of such sources, in the order of the mounts.
#[derive(Debug)]
pub(super) struct Mapped {
    sources: Vec<(usize, OwnedFd)>,
    users: Users,
    base: Propagation,
}

impl Mapped {
    /// Keeps what will be sent; nothing where the child can make its copies itself.
    pub(super) fn of(
        mounts: &[Mount],
        sources: &[Source],
        terms: Terms<'_>,
    ) -> Result<Option<Self>> {
        let mapped = |mount: &Mount| mount.idmap.is_some();
        if !terms.locks || !mounts.iter().any(mapped) {
            return Ok(None);
        }
        Self::keep(mounts, sources, terms)
            .map(Some)
            .context("keep the sources of idmapped mounts")
    }

    fn keep(mounts: &[Mount], sources: &[Source], terms: Terms<'_>) -> std::io::Result<Self> {
        let mut kept = Vec::new();
        for (index, (mount, source)) in mounts.iter().zip(sources).enumerate() {
            if let (Some(_), Some(fd)) = (&mount.idmap, source.fd()) {
                kept.push((index, fd.try_clone_to_owned()?));
            }
        }
        Ok(Self {
            sources: kept,
            users: terms.users.try_clone()?,
            base: terms.base,
        })
    }

    /// Sends the child its copies, each in its turn; they are made in `namespace`, the child's mount namespace if it is not ours.
    pub(super) fn send(
        self,
        mounts: &[Mount],
        namespace: Option<&Handle>,
        parent: &Channel,
    ) -> Result<()> {
        let (reader, writer) = fs::pipe2(OFlag::O_CLOEXEC).context("pipe")?;
        let helper = process::clone3(Birth::default(), || {
            match self.copy(mounts, namespace, parent) {
                Ok(()) => 0,
                Err(failure) => {
                    // The parent reports it; should it be gone, nobody would.
                    fs::write(&writer, &failure.encode()).ok();
                    1
                }
            }
        });
        let helper = helper.context("clone the process that maps ids of mounts")?;
        drop(writer);
        let mut buffer = [0; 8192];
        let length = fs::read(&reader, &mut buffer).context("hear the process that maps ids")?;
        let exit = helper
            .handle
            .wait()
            .context("wait for the process that maps ids")?;
        match (length, exit.code()) {
            (0, 0) => Ok(()),
            (0, _) => bail!("map ids of mounts: the process that does it was killed"),
            (length, _) => Err(Failure::decode(&buffer[..length]).into()),
        }
    }

    fn copy(
        self,
        mounts: &[Mount],
        namespace: Option<&Handle>,
        parent: &Channel,
    ) -> Result<(), Failure> {
        // Before the namespace of a container that others may be in (CVE-2016-9962).
        process::set_dumpable(false).at(Step::Hide, "")?;
        if let Some(namespace) = namespace {
            namespace
                .enter(Namespaces::MOUNT)
                .at(Step::Namespace, "the container's mount namespace")?;
        }
        let terms = Terms {
            base: self.base,
            users: &self.users,
            locks: true,
            // Whoever may map ids may copy mounts.
            copier: Copier::Parent,
        };
        for (index, source) in self.sources {
            let copy = lock(Loose::from(source), &mounts[index], terms)?;
            parent
                .hand_child(ToChild::Source, &copy)
                .at(Step::Parent, "socket")?;
        }
        Ok(())
    }
}
