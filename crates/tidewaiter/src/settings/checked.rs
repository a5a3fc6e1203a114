//! Settings after the check: no strings left to parse.

use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use tw_detect::{Environment, Environments, ExporterList, Network, Policy};
use tw_model::NetworkTag;
use tw_store::Rules;

use super::SettingsError;
use super::collector::Collector;
use super::raw::{self, Raw};

/// What a run goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Tunables of the join.
    pub policy: Policy,
    /// Networks and hosts.
    pub environments: Environments,
    /// When something seen counts as known.
    pub rules: Rules,
    /// Of the collector.
    pub collector: Collector,
}

impl Settings {
    /// Reads and checks a configuration file; the defaults where there is none. `only` names the environment that all
    /// traffic is judged as.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, has an unknown key or an impossible value.
    pub fn load(path: Option<&Path>, only: Option<&str>) -> Result<Self, SettingsError> {
        let Some(path) = path else {
            return Check { path: PathBuf::new(), text: String::new() }.run(Raw::default(), only);
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| SettingsError::Unreadable { path: path.to_owned(), error })?;
        let check = Check { path: path.to_owned(), text };
        let raw = toml::from_str(&check.text).map_err(|error| check.syntax(&error))?;
        check.run(raw, only)
    }
}

/// A check of one file, with what an error needs to name the place.
pub(super) struct Check {
    path: PathBuf,
    text: String,
}

impl Check {
    fn run(&self, raw: Raw, only: Option<&str>) -> Result<Settings, SettingsError> {
        let (policy, rules) = self.policy(&raw.policy)?;
        let mut list = Vec::new();
        for environment in &raw.environment {
            list.push(self.environment(environment, &list)?);
        }
        if let Some(name) = only {
            list = self.only(name, list)?;
        }
        let mut environments = Environments::new(list);
        for host in &raw.docker_host {
            self.host(host, &mut environments)?;
        }
        if let Some(list) = &raw.collector.exporters {
            environments.set_exporters(ExporterList::Only(self.networks("exporters", list)?));
        }
        let collector = self.collector(&raw.collector)?;
        Ok(Settings { policy, environments, rules, collector })
    }

    fn policy(&self, raw: &raw::Policy) -> Result<(Policy, Rules), SettingsError> {
        let mut policy = Policy::default();
        let mut rules = Rules::default();
        for (key, value, target) in [
            ("time_window", &raw.time_window, &mut policy.time_window),
            ("deploy_window", &raw.deploy_window, &mut policy.deploy_window),
            ("learning_period", &raw.learning_period, &mut policy.learning_period),
            ("inferred_window_max", &raw.inferred_window_max, &mut policy.inferred_window_max),
            ("known_after", &raw.known_after, &mut rules.known_after),
            ("forget_after", &raw.forget_after, &mut rules.forget_after),
        ] {
            if let Some(value) = value {
                *target = self.duration(key, value)?;
            }
        }
        if let Some(threshold) = &raw.new_image_threshold {
            policy.new_image_threshold =
                usize::try_from(*threshold.get_ref()).unwrap_or(usize::MAX);
        }
        if let Some(list) = &raw.registry_allow_list {
            policy.registry_allow_list = list.get_ref().clone();
        }
        if let Some(list) = &raw.proxies {
            policy.proxies = list.get_ref().clone();
        }
        Ok((policy, rules))
    }

    pub(super) fn duration(
        &self,
        key: &str,
        value: &Spanned<String>,
    ) -> Result<Duration, SettingsError> {
        humantime::parse_duration(value.get_ref()).map_err(|_| {
            let message = format!(
                "\"{}\" is no duration; write for example \"5s\", \"10m\" or \"180d\"",
                value.get_ref()
            );
            self.value(key, value.span(), message)
        })
    }

    fn environment(
        &self,
        raw: &raw::Environment,
        before: &[Environment],
    ) -> Result<Environment, SettingsError> {
        let name = raw.name.get_ref().clone();
        let span = || raw.name.span();
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(self.value("name", span(), "an environment needs a printable name".into()));
        }
        if before.iter().any(|other| other.name == name) {
            return Err(self.value("name", span(), format!("\"{name}\" is there twice")));
        }
        let networks = self.networks("networks", &raw.networks)?;
        let (vlans, vnis) = (raw.vlans.clone(), raw.vnis.clone());
        Ok(Environment { name, networks, vlans, vnis, interfaces: raw.interfaces.clone() })
    }

    pub(super) fn networks(
        &self,
        key: &str,
        list: &[Spanned<String>],
    ) -> Result<Vec<Network>, SettingsError> {
        let parse = |network: &Spanned<String>| {
            network.get_ref().parse().map_err(|_| {
                let message = format!("\"{}\" is no network such as 10.0.0.0/8", network.get_ref());
                self.value(key, network.span(), message)
            })
        };
        list.iter().map(parse).collect()
    }

    /// One environment that everything belongs to.
    fn only(&self, name: &str, list: Vec<Environment>) -> Result<Vec<Environment>, SettingsError> {
        let configured = !list.is_empty();
        match list.into_iter().find(|environment| environment.name == name) {
            Some(environment) => Ok(vec![Environment {
                vlans: Vec::new(),
                vnis: Vec::new(),
                interfaces: Vec::new(),
                ..environment
            }]),
            None if configured => Err(SettingsError::Usage(format!(
                "--environment {name}: {} has no environment of that name",
                self.path.display()
            ))),
            None => Ok(vec![Environment {
                name: name.to_owned(),
                networks: tw_detect::private_networks(),
                ..Environment::default()
            }]),
        }
    }

    fn host(
        &self,
        raw: &raw::DockerHost,
        environments: &mut Environments,
    ) -> Result<(), SettingsError> {
        let host = self.address("address", &raw.address)?;
        let name = match &raw.environment {
            None => environments.of(host, NetworkTag::default()).to_owned(),
            Some(name) if environments.has_name(name.get_ref()) => name.get_ref().clone(),
            Some(name) => {
                let message = format!("there is no environment \"{}\"", name.get_ref());
                return Err(self.value("environment", name.span(), message));
            }
        };
        for alias in &raw.aliases {
            let alias = self.address("aliases", alias)?;
            environments.add_alias(&name, alias, host);
        }
        Ok(())
    }

    fn address(&self, key: &str, value: &Spanned<String>) -> Result<IpAddr, SettingsError> {
        value.get_ref().parse().map_err(|_| {
            let message = format!("\"{}\" is no IP address", value.get_ref());
            self.value(key, value.span(), message)
        })
    }

    pub(super) fn value(&self, key: &str, span: Range<usize>, message: String) -> SettingsError {
        SettingsError::Value {
            path: self.path.clone(),
            line: self.line(span.start),
            key: key.to_owned(),
            message,
        }
    }

    fn syntax(&self, error: &toml::de::Error) -> SettingsError {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        SettingsError::Syntax { path: self.path.clone(), line: self.line(at), message }
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn load(text: &str) -> Result<Settings, SettingsError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Settings::load(Some(file.path()), None)
    }

    #[test]
    fn keys_reach_the_policy() {
        let settings = load(
            "[policy]\ntime_window = \"5m\"\nnew_image_threshold = 3\nknown_after = \"2d\"\n\
             registry_allow_list = [\"r.example:5000\"]\nproxies = [\"p.example:3129\"]\n",
        )
        .unwrap();
        assert_eq!(settings.policy.time_window, Duration::from_secs(300));
        assert_eq!(settings.policy.new_image_threshold, 3);
        assert_eq!(settings.rules.known_after, Duration::from_secs(172_800));
        assert_eq!(settings.policy.registry_allow_list, ["r.example:5000"]);
        assert_eq!(settings.policy.proxies, ["p.example:3129"]);
    }

    #[test]
    fn an_error_names_line_and_key() {
        let line = |text: &str| load(text).unwrap_err().to_string();
        assert!(
            line("[policy]\n\ntime_windw = \"5s\"\n")
                .contains(" line 3: unknown field `time_windw`")
        );
        assert!(
            line("[policy]\ntime_window = \"soon\"\n").contains(" line 2: time_window: \"soon\"")
        );
        assert!(
            line("[[environment]]\nname = \"a\"\nnetworks = [\"10.0.0.0/33\"]\n")
                .contains(" line 3: networks:")
        );
        assert!(line("[[docker_host]]\naddress = \"x\"\n").contains(" line 2: address:"));
        assert!(line("[policy\n").contains(" line 1: "));
        let host = "[[docker_host]]\naddress = \"10.0.0.1\"\nenvironment = \"nowhere\"\n";
        assert!(line(host).contains(" line 3: environment: there is no environment"));
    }

    #[test]
    fn errors_of_the_collector_name_line_and_key() {
        let line = |text: &str| load(text).unwrap_err().to_string();
        let with = |key: &str| format!("[collector]\nlateness = \"1m\"\n{key}\n");
        for (key, told) in [
            ("exporters = [\"192.0.2.0/24\", \"router\"]", " line 3: exporters: \"router\""),
            ("listen = [\"2055\", \"here\"]", " line 3: listen: \"here\""),
            ("stats_every = \"0s\"", " line 3: stats_every: must be"),
            ("exporter = []", " line 3: unknown field `exporter`"),
        ] {
            assert!(line(&with(key)).contains(told), "{}", line(&with(key)));
        }
        let settings = load("[collector]\nexporters = [\"192.0.2.0/24\"]\n").unwrap();
        let takes = |ip: &str| settings.environments.exporters().takes(ip.parse().unwrap());
        assert!(takes("192.0.2.9") && !takes("10.0.0.1"));
        assert!(load("").unwrap().environments.exporters().takes("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn an_environment_that_is_not_configured_is_refused() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"[[environment]]\nname = \"a\"\nnetworks = [\"10.0.0.0/8\"]\n").unwrap();
        assert!(Settings::load(Some(file.path()), Some("b")).is_err());
        assert!(Settings::load(Some(file.path()), Some("a")).is_ok());
    }
}
