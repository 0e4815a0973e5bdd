//! An identity that is read again when its files change.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::IdentityError;
use crate::files::Stamp;
use crate::identity::Identity;
use crate::name::Role;

/// The identity of a process that runs for long: certificates are renewed and revoked meanwhile.
pub struct Watched {
    dir: PathBuf,
    role: Role,
    current: Mutex<(Stamp, Arc<Identity>)>,
}

impl Watched {
    pub fn open(dir: PathBuf, role: Role) -> Result<Self, IdentityError> {
        let stamp = Stamp::of(&dir);
        let identity = Identity::load(&dir, role)?;
        let current = Mutex::new((stamp, identity));
        Ok(Self { dir, role, current })
    }

    pub fn current(&self) -> Arc<Identity> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.1)
    }

    /// Reads the files again if they have changed, and says whether they have. After an error the
    /// old ones stay in use: they may be in the middle of being replaced.
    pub fn refresh(&self) -> Result<bool, IdentityError> {
        let stamp = Stamp::of(&self.dir);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 == stamp {
            return Ok(false);
        }
        *current = (stamp, Identity::load(&self.dir, self.role)?);
        Ok(true)
    }
}
