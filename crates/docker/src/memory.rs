//! What one connection must know of another: which endpoints are daemons, which containers and execs
//! they have, and which builds wait for a file that the daemon fetches. All of it bounded.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use tw_model::{CallId, ContainerEvent, DeployKind, Endpoint, FlowId, NetworkTag};

use crate::api::Limits;
use crate::bounded::Bounded;
use crate::container::Created;

/// A docker host: address and the marks that tell overlapping networks apart.
pub(crate) type HostKey = (IpAddr, Option<u16>, Option<u32>);

/// Where names of one kind mean one thing: a container and a service may have the same.
pub(crate) type Scope = (HostKey, DeployKind);

/// The key of a daemon's host.
pub(crate) const fn host_key(daemon: Endpoint, tag: NetworkTag) -> HostKey {
    (daemon.ip, tag.vlan, tag.vni)
}

/// A container that a create call told of.
struct Known {
    id: Option<String>,
    name: Option<String>,
    created: Arc<Created>,
    /// Its id as far as it was seen, where its create call's answer was not.
    id_start: Option<String>,
    started: bool,
}

/// Connection and exchange of the calls that share an upload.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sides {
    /// The build.
    pub(crate) taker: Option<(FlowId, u64)>,
    /// The call that brings its context.
    pub(crate) giver: Option<(FlowId, u64)>,
}

/// An open build that waits for its `remote=`.
#[derive(Clone)]
pub(crate) struct OpenRemote {
    /// Normalised.
    pub(crate) url: String,
    /// Who fetches it.
    pub(crate) host: IpAddr,
}

/// See the module.
pub(crate) struct Memory {
    daemons: Bounded<(HostKey, u16), ()>,
    containers: Bounded<Scope, VecDeque<Known>>,
    containers_per_host: usize,
    containers_dropped: u64,
    execs: Bounded<(HostKey, String), Box<ContainerEvent>>,
    remotes: Bounded<(FlowId, u64), OpenRemote>,
    sessions: Bounded<(HostKey, String), CallId>,
    uploads: Bounded<(HostKey, String), Sides>,
    /// Ids of the networks that are the hosts' own.
    host_networks: Bounded<HostKey, String>,
    /// Every open context reader holds a clone.
    contexts: Arc<()>,
}

impl Memory {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            daemons: Bounded::new(limits.daemons),
            containers: Bounded::new(limits.daemons),
            containers_per_host: limits.containers_per_host.max(1),
            containers_dropped: 0,
            execs: Bounded::new(limits.execs),
            remotes: Bounded::new(limits.open_builds),
            sessions: Bounded::new(limits.execs),
            uploads: Bounded::new(limits.open_builds),
            host_networks: Bounded::new(limits.daemons),
            contexts: Arc::new(()),
        }
    }

    /// This endpoint has answered as a daemon.
    pub(crate) fn learn_daemon(&mut self, daemon: Endpoint, tag: NetworkTag) {
        let key = (host_key(daemon, tag), daemon.port);
        if !self.daemons.contains(&key) {
            self.daemons.insert(key, ());
        }
    }

    /// Has this endpoint answered as a daemon before?
    pub(crate) fn is_daemon(&self, daemon: Endpoint, tag: NetworkTag) -> bool {
        self.daemons.contains(&(host_key(daemon, tag), daemon.port))
    }

    /// A create call was sent, and as the same `created` once more when it was accepted or its answer
    /// was not seen.
    pub(crate) fn learn_container(
        &mut self,
        scope: Scope,
        id: Option<String>,
        created: Arc<Created>,
    ) {
        let limit = self.containers_per_host;
        if !self.containers.contains(&scope) {
            self.containers.insert(scope, VecDeque::new());
        }
        let Some(list) = self.containers.get_mut(&scope) else { return };
        if let Some(known) = list.iter_mut().find(|known| Arc::ptr_eq(&known.created, &created)) {
            known.id = id.or_else(|| known.id.take());
            return;
        }
        let name = created.name.clone();
        list.push_front(Known { id, name, created, id_start: None, started: false });
        if list.len() > limit {
            list.pop_back();
            self.containers_dropped = self.containers_dropped.saturating_add(1);
        }
    }

    /// The container that `reference` means, as dockerd looks it up: by id, by name, by the
    /// beginning of an id if only one begins so. The latest of a name counts.
    pub(crate) fn container(
        &self,
        scope: Scope,
        reference: &str,
    ) -> Option<(Option<String>, Arc<Created>)> {
        let list = self.containers.get(&scope)?;
        let known = list.get(find(list, reference)?)?;
        Some((known.id.clone(), Arc::clone(&known.created)))
    }

    /// A create call was refused.
    pub(crate) fn unlearn_container(&mut self, scope: Scope, created: &Arc<Created>) {
        if let Some(list) = self.containers.get_mut(&scope) {
            list.retain(|known| !Arc::ptr_eq(&known.created, created));
        }
    }

    /// Does `reference` mean a container that was created?
    pub(crate) fn knows(&self, scope: Scope, reference: &str) -> bool {
        self.containers.get(&scope).is_some_and(|list| find(list, reference).is_some())
    }

    /// A whole id that no answer gave is taken for that of the latest container whose creation was
    /// seen without its answer.
    pub(crate) fn adopt(&mut self, scope: Scope, id: &str) {
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some(list) = self.containers.get_mut(&scope).filter(|_| is_id) else { return };
        let unseen = |known: &&mut Known| known.id.is_none() && known.id_start.is_none();
        if let Some(known) = list.iter_mut().find(unseen) {
            known.id = Some(id.to_owned());
        }
    }

    /// The container of a call whose path was cut off, and whether it has been started. An id of
    /// which only the beginning is known is taken for that of the latest container whose id was not
    /// seen.
    pub(crate) fn begun(
        &mut self,
        scope: Scope,
        reference: &str,
        cut: bool,
    ) -> Option<(Arc<Created>, bool)> {
        let list = self.containers.get_mut(&scope)?;
        let at = find(list, reference).or_else(|| {
            let unseen = |known: &Known| known.id.is_none() && known.id_start.is_none();
            if cut { list.iter().position(unseen) } else { None }
        })?;
        let known = list.get_mut(at)?;
        if cut && known.id.is_none() && known.name.as_deref() != Some(reference) {
            known.id_start.get_or_insert_with(|| reference.to_owned());
        }
        Some((Arc::clone(&known.created), known.started))
    }

    /// It has been started.
    pub(crate) fn note_start(&mut self, scope: Scope, reference: &str) {
        let Some(list) = self.containers.get_mut(&scope) else { return };
        if let Some(known) = find(list, reference).and_then(|at| list.get_mut(at)) {
            known.started = true;
        }
    }

    /// The daemon removed it.
    pub(crate) fn forget_container(&mut self, scope: Scope, reference: &str) {
        let Some(list) = self.containers.get_mut(&scope) else { return };
        if let Some(at) = find(list, reference) {
            list.remove(at);
        }
    }

    /// ContainerRename.
    pub(crate) fn rename_container(&mut self, scope: Scope, reference: &str, name: &str) {
        let Some(list) = self.containers.get_mut(&scope) else { return };
        let Some(known) = find(list, reference).and_then(|at| list.get_mut(at)) else { return };
        known.name = Some(name.to_owned());
        let mut created = (*known.created).clone();
        created.name = Some(name.to_owned());
        known.created = Arc::new(created);
    }

    /// An exec was created: its start is told as the same event.
    pub(crate) fn learn_exec(&mut self, host: HostKey, id: String, event: ContainerEvent) {
        self.execs.insert((host, id), Box::new(event));
    }

    /// What the create call of this exec said.
    pub(crate) fn exec(&mut self, host: HostKey, id: &str) -> Option<ContainerEvent> {
        self.execs.remove(&(host, id.to_owned())).map(|event| *event)
    }

    /// A BuildKit client opened a session.
    pub(crate) fn learn_session(&mut self, host: HostKey, id: String, call: CallId) {
        self.sessions.insert((host, id), call);
    }

    /// The call that opened this session.
    pub(crate) fn session(&self, host: HostKey, id: &str) -> Option<CallId> {
        self.sessions.get(&(host, id.to_owned())).copied()
    }

    /// The two calls that name this upload.
    pub(crate) fn upload(&mut self, host: HostKey, id: &str) -> &mut Sides {
        self.uploads.entry(&(host, id.to_owned()))
    }

    /// The daemon told the id of the network that is its host's own.
    pub(crate) fn learn_host_network(&mut self, host: HostKey, id: String) {
        self.host_networks.insert(host, id);
    }

    /// That id.
    pub(crate) fn host_network(&self, host: HostKey) -> Option<&str> {
        self.host_networks.get(&host).map(String::as_str)
    }

    /// A build waits for this file.
    pub(crate) fn wait_for(&mut self, build: (FlowId, u64), remote: OpenRemote) {
        self.remotes.insert(build, remote);
    }

    /// The build is over, or has its file.
    pub(crate) fn stop_waiting(&mut self, build: (FlowId, u64)) {
        if !self.remotes.is_empty() {
            self.remotes.remove(&build);
        }
    }

    /// The build that waits for `url` from `host`.
    pub(crate) fn waiting(&self, host: IpAddr, url: &str) -> Option<(FlowId, u64)> {
        let mut open = self.remotes.iter().filter(|(_, remote)| remote.host == host);
        open.find(|(_, remote)| remote.url == url).map(|(build, _)| *build)
    }

    /// Does any build wait?
    pub(crate) fn any_waiting(&self) -> bool {
        !self.remotes.is_empty()
    }

    /// Leave to read one more context, if fewer than `limit` are open. Given back by dropping it.
    pub(crate) fn context_token(&self, limit: usize) -> Option<Arc<()>> {
        let open = Arc::strong_count(&self.contexts).saturating_sub(1);
        (open < limit).then(|| Arc::clone(&self.contexts))
    }

    /// Entries that had to go, of all tables.
    pub(crate) const fn evicted(&self) -> u64 {
        self.daemons
            .evicted()
            .saturating_add(self.containers.evicted())
            .saturating_add(self.containers_dropped)
            .saturating_add(self.execs.evicted())
            .saturating_add(self.remotes.evicted())
            .saturating_add(self.sessions.evicted())
            .saturating_add(self.uploads.evicted())
            .saturating_add(self.host_networks.evicted())
    }
}

fn find(list: &VecDeque<Known>, reference: &str) -> Option<usize> {
    let reference = reference.trim_start_matches('/');
    if reference.is_empty() {
        return None;
    }
    let by_id = list.iter().position(|known| known.id.as_deref() == Some(reference));
    let by_name = || list.iter().position(|known| known.name.as_deref() == Some(reference));
    if let Some(at) = by_id.or_else(by_name) {
        return Some(at);
    }
    let seen_start = list.iter().position(|known| known.id_start.as_deref() == Some(reference));
    if let Some(at) = seen_start {
        return Some(at);
    }
    let begins = |known: &Known| known.id.as_deref().is_some_and(|id| id.starts_with(reference));
    let mut matches = list.iter().enumerate().filter(|(_, known)| begins(known));
    let (at, _) = matches.next()?;
    if matches.next().is_some() { None } else { Some(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> (Memory, Scope) {
        let limits = Limits { containers_per_host: 4, ..Limits::default() };
        (Memory::new(&limits), (([10, 0, 0, 1].into(), None, None), DeployKind::Container))
    }

    fn learn(memory: &mut Memory, host: Scope, id: &str, name: &str) {
        let created = Created { name: Some(name.into()), ..Created::default() };
        memory.learn_container(host, Some(id.into()), Arc::new(created));
    }

    fn id_of(memory: &Memory, host: Scope, reference: &str) -> Option<String> {
        memory.container(host, reference)?.0
    }

    #[test]
    fn id_then_name_then_unique_prefix() {
        let (mut memory, host) = memory();
        learn(&mut memory, host, "abc111", "web");
        learn(&mut memory, host, "abd222", "abc111x");
        learn(&mut memory, host, "fff333", "abd");
        for (reference, id) in [
            ("abc111", Some("abc111")),
            ("web", Some("abc111")),
            ("/web", Some("abc111")),
            ("abc", Some("abc111")),
            ("ab", None),
            ("abd", Some("fff333")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(id_of(&memory, host, reference).as_deref(), id, "{reference}");
        }
        let other = (([10, 0, 0, 1].into(), Some(7), None), DeployKind::Container);
        assert!(memory.container(other, "web").is_none(), "another network, another host");
    }

    #[test]
    fn latest_of_a_name_counts_and_the_list_is_bounded() {
        let (mut memory, host) = memory();
        for at in 0..10 {
            learn(&mut memory, host, &format!("id{at}"), "same");
        }
        assert_eq!(id_of(&memory, host, "same").as_deref(), Some("id9"));
        assert_eq!(id_of(&memory, host, "id5"), None);
        assert_eq!(memory.evicted(), 6);
        memory.forget_container(host, "same");
        assert_eq!(id_of(&memory, host, "same").as_deref(), Some("id8"));
        memory.rename_container(host, "same", "other");
        assert_eq!(id_of(&memory, host, "other").as_deref(), Some("id8"));
    }
}
