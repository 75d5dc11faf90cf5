//! TLS: whom we trust, and who we are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::error::{Error, Kind, Result};
use crate::files;
use crate::hosts::Tls;

/// The certificates of the authorities that this machine trusts; there may be none.
#[derive(Debug)]
pub(crate) struct Roots(Arc<RootCertStore>);

impl Roots {
    fn of_the_system() -> Self {
        let mut store = RootCertStore::empty();
        // What cannot be read is missing, and the certificate that needed it is refused.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self(Arc::new(store))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Makes the configuration of connections; the system's authorities are read when they are first needed.
pub(crate) fn config(tls: &Tls, roots: &OnceLock<Roots>) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Tls, error.to_string()))?;
    let trusting = if tls.anybody {
        let verifier = Arc::new(Anybody(provider));
        versions
            .dangerous()
            .with_custom_certificate_verifier(verifier)
    } else {
        let system = roots.get_or_init(Roots::of_the_system);
        let own = own(&tls.authorities).map_err(|error| named(tls, "ca", error))?;
        if own.is_empty() {
            versions.with_root_certificates(system.0.clone())
        } else {
            let verifier = Arc::new(Own::new(system, own, provider)?);
            versions
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        }
    };
    let Some((cert, key)) = tls.client.first() else {
        return Ok(trusting.with_no_client_auth());
    };
    let chain = certificates(cert).map_err(|error| named(tls, "client", error))?;
    let fault = |path: &Path, why: &dyn std::fmt::Display| {
        Error::new(Kind::Settings, format!("{}: {why}", path.display()))
    };
    let bytes = pem(key).map_err(|error| named(tls, "client", error))?;
    let secret = PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| fault(key, &"holds no private key that can be read"))?;
    trusting
        .with_client_auth_cert(chain, secret)
        .map_err(|error| fault(cert, &error))
}

/// Says which key of which file names what cannot be used.
fn named(tls: &Tls, key: &str, error: Error) -> Error {
    match &tls.named {
        Some(at) => Error::new(error.kind(), format!("{at}: {key}: {}", error.message())),
        None => error,
    }
}

fn own(authorities: &[PathBuf]) -> Result<Vec<(PathBuf, CertificateDer<'static>)>> {
    let mut own = Vec::new();
    for path in authorities {
        let all = certificates(path)?.into_iter();
        own.extend(all.map(|certificate| (path.clone(), certificate)));
    }
    Ok(own)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = pem(path)?;
    let all: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(Error::new(
            Kind::Settings,
            format!("{}: holds no certificate in PEM form", path.display()),
        )),
    }
}

fn pem(path: &Path) -> Result<Vec<u8>> {
    files::read(path)?
        .ok_or_else(|| Error::new(Kind::Settings, format!("{}: no such file", path.display())))
}

/// Trusts the system's authorities and our own, and of our own also what is no authority but the server itself: a certificate that has signed
/// itself, as people make them for a registry, is both.
#[derive(Debug)]
struct Own {
    usual: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl Own {
    fn new(
        system: &Roots,
        own: Vec<(PathBuf, CertificateDer<'static>)>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self> {
        let mut store = RootCertStore::clone(&system.0);
        for (path, certificate) in &own {
            store.add(certificate.clone()).map_err(|error| {
                Error::new(Kind::Settings, format!("{}: {error}", path.display()))
            })?;
        }
        let making = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider);
        let usual = making
            .build()
            .map_err(|error| Error::new(Kind::Tls, error.to_string()))?;
        let own = own.into_iter().map(|(_, certificate)| certificate);
        let own = own.collect();
        Ok(Self { usual, own })
    }
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let usual = self
            .usual
            .verify_server_cert(server, between, name, ocsp, now);
        match usual {
            // Seen after the dates, and before the name.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(why)))
                if why.to_string() == "CaUsedAsEndEntity" && self.own.contains(server) =>
            {
                verify_server_name(&ParsedCertificate::try_from(server)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            usual => usual,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// Trusts anybody, which is what "insecure" says; the digest of what comes is checked as ever. Whoever shows a certificate must still have
/// its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
