//! Gossip keys. Each step is asked of all live members, and done when all of them say so: whoever is missing would be shut
//! out by the next.

use std::collections::BTreeSet;

use funk_proto::GossipKey;
use funk_rpc::pb::managepb as pb;
use pb::change_keys_request::Change;
use serde_json::json;

use super::answer::{good, no_error};
use super::asked::Asked;
use super::node::Management;
use super::table::{Table, Text};
use super::{Answer, Failure, KeysCommand};

pub(super) async fn run(asked: &Asked<'_>, command: &KeysCommand) -> Result<Answer, Failure> {
    match command {
        KeysCommand::List => list(asked).await,
        KeysCommand::Rotate { key } => rotate(asked, key.as_deref()).await,
        KeysCommand::Install { key } => {
            let (id, members) = install(asked, key.as_deref()).await?;
            Ok(done("installed", &id, members))
        }
        KeysCommand::Use { id } => Ok(done("used", id, change(asked, Change::Use, id).await?)),
        KeysCommand::Remove { id } => Ok(done("removed", id, change(asked, Change::Remove, id).await?)),
    }
}

fn done(what: &str, id: &str, members: usize) -> Answer {
    let text = format!("key {id} {what} by all {members} members");
    good(json!({ "done": what, "key": id, "members": members }), Text::default().line(text))
}

async fn ask(asked: &Asked<'_>) -> Result<pb::KeysResponse, Failure> {
    let (_, list) = asked.call(pb::ListKeysRequest {}, async |node, request| node.list_keys(request).await).await?;
    Ok(list)
}

async fn list(asked: &Asked<'_>) -> Result<Answer, Failure> {
    let list = ask(asked).await?;
    if list.members.is_empty() {
        no_error("keys list", list.error.as_ref())?;
    }
    let entry =
        |member: &pb::MemberKeys| json!({ "node": member.node_id, "keys": member.key_ids, "refused": member.refused });
    let json = json!({
        "node": list.node_id,
        "nodes": list.members.iter().map(entry).collect::<Vec<_>>(),
        "missing": list.missing,
    });
    let shown = |member: &pb::MemberKeys| match member.refused.as_str() {
        "" => member.key_ids.join(" "),
        why => format!("refused: {why}"),
    };
    let mut rows: Vec<_> = list.members.iter().map(|member| vec![member.node_id.clone(), shown(member)]).collect();
    rows.extend(list.missing.iter().map(|node| vec![node.clone(), "no answer".to_owned()]));
    let code = u8::from(list.error.is_some());
    Ok(Answer { code, ..good(json, Text::default().table(Table::new(&["NODE", "KEYS"]).rows(rows))) })
}

/// Installs a key; its id, and how many members have it.
async fn install(asked: &Asked<'_>, key: Option<&str>) -> Result<(String, usize), Failure> {
    let key = key.map(read).transpose()?.map(|key| key.as_bytes().to_vec()).unwrap_or_default();
    let request = pb::ChangeKeysRequest { change: Change::Install.into(), key, key_id: String::new() };
    let answer = send(asked, request, "install").await?;
    Ok((answer.key_id, answer.members.len()))
}

async fn change(asked: &Asked<'_>, change: Change, id: &str) -> Result<usize, Failure> {
    let word = if change == Change::Use { "use" } else { "remove" };
    let request =
        pb::ChangeKeysRequest { change: change.into(), key_id: id.into(), ..pb::ChangeKeysRequest::default() };
    Ok(send(asked, request, word).await?.members.len())
}

async fn send(asked: &Asked<'_>, request: pb::ChangeKeysRequest, word: &str) -> Result<pb::KeysResponse, Failure> {
    let call = async |node: &mut Management, request| node.change_keys(request).await;
    let answer = asked.change(request, "keys list", call).await?;
    let Some(error) = &answer.error else { return Ok(answer) };
    if answer.members.is_empty() {
        no_error(&format!("keys {word}"), Some(error))?;
    }
    let why = format!("keys {word}: not done by all members: {}; see `ctrlc keys list`", error.message);
    Err(Failure::Refused(why))
}

/// The three steps. What fails leaves keys that open all that is sent; the next rotation removes them.
async fn rotate(asked: &Asked<'_>, key: Option<&str>) -> Result<Answer, Failure> {
    let before = ask(asked).await?;
    if let Some(error) = &before.error {
        if before.members.is_empty() {
            no_error("keys rotate", Some(error))?;
        }
        let why = format!("keys rotate: nothing is changed while not all members answer: {}", error.message);
        return Err(Failure::Refused(why));
    }
    let old: BTreeSet<&String> = before.members.iter().flat_map(|member| &member.key_ids).collect();
    let (id, members) = install(asked, key).await?;
    change(asked, Change::Use, &id).await?;
    let removed: Vec<_> = old.into_iter().filter(|old| **old != id).collect();
    for old in &removed {
        change(asked, Change::Remove, old).await?;
    }
    let gone: Vec<_> = removed.iter().map(|id| id.as_str()).collect();
    let text = format!("key {id} is used by all {members} members; removed: {}", gone.join(", "));
    Ok(good(json!({ "done": "rotated", "key": id, "removed": gone, "members": members }), Text::default().line(text)))
}

/// A key as it is given. What is none is not repeated.
fn read(given: &str) -> Result<GossipKey, Failure> {
    let text = match given {
        "-" => std::io::read_to_string(std::io::stdin().lock())
            .map_err(|error| Failure::Usage(format!("standard input: {error}")))?,
        text => text.to_owned(),
    };
    text.trim().parse().map_err(|bad| Failure::Usage(format!("KEY: {bad}")))
}
