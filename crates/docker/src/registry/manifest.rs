//! Manifests: what an image consists of, or which images a name stands for.

use super::target::is_digest;
use crate::json::Json;

/// Layers beyond this are not kept (dockerd refuses more than 127).
pub(crate) const MAX_LAYERS: usize = 256;
/// Manifests of an index beyond this are not kept.
const MAX_CHILDREN: usize = 128;

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Manifest {
    /// OCI Image Specification, "Image Manifest"; Docker manifest v2 schema 2 and schema 1.
    Image {
        /// Digest of the configuration.
        config: Option<String>,
        /// Layers with their sizes, the base first.
        layers: Vec<(String, Option<u64>)>,
    },
    /// OCI Image Specification, "Image Index"; Docker manifest list.
    Index(Vec<Child>),
}

/// One manifest that an index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    /// Its digest.
    pub(crate) digest: String,
    /// `linux/amd64`; absent where it is for no platform (attestations are for `unknown/unknown`).
    pub(crate) platform: Option<String>,
}

impl Manifest {
    /// `None` where it is neither. Reads as far as it is whole.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let value = Json::read(bytes).value;
        let version = value.field("schemaVersion").and_then(Json::number)?;
        if version == 1 {
            return schema_1(&value);
        }
        if let Some(children) = value.field("manifests") {
            let children = children.elements().iter().take(MAX_CHILDREN).filter_map(child);
            return Some(Self::Index(children.collect()));
        }
        let layers = value.field("layers")?.elements().iter().take(MAX_LAYERS);
        let layers = layers.filter_map(|layer| {
            Some((digest_in(layer, "digest")?, layer.field("size").and_then(Json::number)))
        });
        let config = value.field("config").and_then(|config| digest_in(config, "digest"));
        Some(Self::Image { config, layers: layers.collect() })
    }
}

/// Docker manifest v2 schema 1: the latest layer comes first.
fn schema_1(value: &Json) -> Option<Manifest> {
    let layers = value.field("fsLayers")?.elements().iter().take(MAX_LAYERS);
    let mut layers: Vec<_> =
        layers.filter_map(|layer| Some((digest_in(layer, "blobSum")?, None))).collect();
    layers.reverse();
    Some(Manifest::Image { config: None, layers })
}

fn child(value: &Json) -> Option<Child> {
    let platform = value.field("platform");
    let word = |key| {
        let text = platform?.field(key)?.text()?;
        (text.len() <= 32 && text != "unknown").then_some(text)
    };
    let platform = word("os").zip(word("architecture")).map(|(os, cpu)| {
        word("variant").map_or_else(|| format!("{os}/{cpu}"), |v| format!("{os}/{cpu}/{v}"))
    });
    Some(Child { digest: digest_in(value, "digest")?, platform })
}

fn digest_in(value: &Json, key: &str) -> Option<String> {
    value.field(key)?.text().filter(|text| is_digest(text)).map(str::to_owned)
}

/// Media types of manifests (OCI Image Specification, "Media Types"; Docker's own).
pub(crate) fn is_manifest_type(media: &str) -> bool {
    let media = media.split(';').next().unwrap_or("").trim();
    media.starts_with("application/vnd.oci.image.manifest.")
        || media.starts_with("application/vnd.oci.image.index.")
        || media.starts_with("application/vnd.docker.distribution.manifest.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(fill: char) -> String {
        format!("sha256:{}", fill.to_string().repeat(64))
    }

    #[test]
    fn an_image_has_a_configuration_and_layers_with_sizes() {
        let (a, b, c) = (digest('a'), digest('b'), digest('c'));
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{c}","size":7}},
            "layers":[{{"digest":"{a}","size":2811969}},{{"digest":"{b}","size":-1}},{{"digest":"x"}}]}}"#
        );
        let layers = vec![(a, Some(2_811_969)), (b, None)];
        assert_eq!(
            Manifest::read(text.as_bytes()),
            Some(Manifest::Image { config: Some(c), layers })
        );
    }

    #[test]
    fn an_index_names_platforms_and_attestations_none() {
        let (a, b) = (digest('a'), digest('b'));
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[
            {{"digest":"{a}","platform":{{"os":"linux","architecture":"arm","variant":"v7"}}}},
            {{"digest":"{b}","platform":{{"os":"unknown","architecture":"unknown"}}}}]}}"#
        );
        let children = vec![
            Child { digest: a, platform: Some("linux/arm/v7".into()) },
            Child { digest: b, platform: None },
        ];
        assert_eq!(Manifest::read(text.as_bytes()), Some(Manifest::Index(children)));
    }

    #[test]
    fn schema_1_lists_the_base_last() {
        let (a, b) = (digest('a'), digest('b'));
        let text = format!(
            r#"{{"schemaVersion":1,"fsLayers":[{{"blobSum":"{a}"}},{{"blobSum":"{b}"}}]}}"#
        );
        let layers = vec![(b, None), (a, None)];
        assert_eq!(Manifest::read(text.as_bytes()), Some(Manifest::Image { config: None, layers }));
    }

    #[test]
    fn what_is_none_and_what_is_too_much() {
        for text in ["", "{}", "[]", r#"{"schemaVersion":2}"#, r#"{"layers":[]}"#, "\u{0}"] {
            assert_eq!(Manifest::read(text.as_bytes()), None, "{text}");
        }
        let layer = format!(r#"{{"digest":"{}"}},"#, digest('a')).repeat(MAX_LAYERS + 5);
        let text = format!(r#"{{"schemaVersion":2,"layers":[{layer}]}}"#);
        let Some(Manifest::Image { layers, .. }) = Manifest::read(text.as_bytes()) else {
            panic!("an image");
        };
        assert_eq!(layers.len(), MAX_LAYERS);
    }

    #[test]
    fn media_types() {
        assert!(is_manifest_type("application/vnd.oci.image.index.v1+json; charset=utf-8"));
        assert!(is_manifest_type("application/vnd.docker.distribution.manifest.list.v2+json"));
        assert!(!is_manifest_type("application/json"));
    }
}
