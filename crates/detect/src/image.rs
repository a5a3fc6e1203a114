//! Names and ids of images, as they are written.

use crate::names::host_of;

/// `alpine` and `docker.io/library/alpine:latest` are one image.
pub(crate) fn image_name(image: &str) -> String {
    let mut rest = image;
    for prefix in ["docker.io/", "index.docker.io/", "localhost/", "library/"] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let last = rest.rsplit('/').next().unwrap_or(rest);
    if last.contains(':') || rest.contains('@') {
        rest.to_owned()
    } else {
        format!("{rest}:latest")
    }
}

/// The first 12 digits of an image id; `None` for what is none.
pub(crate) fn short_id(text: &str) -> Option<String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    digits.get(..12).filter(|_| is_hex(digits)).map(str::to_owned)
}

pub(crate) fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Host of the registry that an image name means; `docker.io` where it names none.
pub(crate) fn registry_of(image: &str) -> String {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => {
            host_of(host).map_or_else(String::new, |(host, _)| host)
        }
        _ => "docker.io".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_one_name_in_every_spelling() {
        for spelling in
            ["alpine", "alpine:latest", "docker.io/library/alpine", "library/alpine:latest"]
        {
            assert_eq!(image_name(spelling), "alpine:latest");
        }
        assert_eq!(image_name("reg.example:5000/a/b"), "reg.example:5000/a/b:latest");
        assert_ne!(image_name("evil:1"), image_name("evil:2"));
    }

    #[test]
    fn a_short_id_is_an_id_but_a_word_is_none() {
        let id = "sha256:88ee6f066361466764023ad791f6a30cff86285a372c1f524257a6ef853fd692";
        assert_eq!(short_id(id).as_deref(), Some("88ee6f066361"));
        assert_eq!(short_id("88ee6f066361"), short_id(id));
        assert_eq!(short_id("88ee6f"), None);
        assert_eq!(short_id("alpine:latest"), None);
    }

    #[test]
    fn the_registry_of_an_image_is_what_docker_would_ask() {
        assert_eq!(registry_of("alpine:3.18"), "docker.io");
        assert_eq!(registry_of("team/app"), "docker.io");
        assert_eq!(registry_of("registry.corp.example:5000/base/alpine"), "registry.corp.example");
    }
}
