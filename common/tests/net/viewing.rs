//! What viewers see, whatever happens between them and the host.

use common::net::door::Door;
use common::track::End;

use crate::tree::{Host, Running, Tree, Viewer};

#[tokio::test]
async fn everybody_at_every_edge_sees_every_object_unchanged() {
    let tree = Tree::grow(2).await;
    let host = Host::on_air(&tree.origin, "video");
    host.part(10, 0..3, false);
    let mut viewers = Vec::new();
    for at in 0..4 {
        viewers.push(Viewer::joins(&tree.edges[at % 2], "video").await);
    }
    let properties = viewers[0].interest.entry().properties().unwrap();
    assert_eq!((properties.default_priority(), properties.number(0x1234)), (77, Some(5)));
    host.part(10, 3..5, true);
    for group in 11..15 {
        host.group(group, 5);
    }
    host.leaves(&tree.origin);
    for viewer in &mut viewers {
        viewer.until("the end", |viewer| viewer.ended.is_some()).await;
        assert_eq!(viewer.ended, Some(End::Finished));
        viewer.saw_all(10..15, 5);
        assert_eq!(viewer.finished, [10, 11, 12, 13, 14]);
    }
}

#[tokio::test]
async fn a_late_joiner_starts_with_the_newest_group_and_the_host_is_not_asked() {
    let tree = Tree::grow(1).await;
    let host = Host::on_air(&tree.origin, "video");
    host.group(1, 4);
    let mut first = Viewer::joins(&tree.edges[0], "video").await;
    first.until("the first group", |viewer| viewer.finished == [1]).await;
    host.group(2, 4);
    host.part(3, 0..2, false);
    first.until("two groups more", |viewer| viewer.objects.len() == 10).await;
    let asked = tree.relay.metric("stentor_upstream_subscriptions_total");
    let mut late = Viewer::joins(&tree.edges[0], "video").await;
    late.until("the newest group's first objects", |viewer| viewer.objects.len() == 2).await;
    late.saw_all(3..4, 2);
    assert_eq!(tree.relay.metric("stentor_upstream_subscriptions_total"), asked);
}

#[tokio::test]
async fn one_copy_goes_over_each_link_however_many_watch() {
    let sent = async |viewers: usize| {
        let tree = Tree::grow(2).await;
        let host = Host::on_air(&tree.origin, "video");
        host.group(0, 1);
        let mut audience = Vec::new();
        for at in 0..viewers {
            audience.push(Viewer::joins(&tree.edges[at % 2], "video").await);
        }
        for group in 1..10 {
            host.group(group, 5);
        }
        host.leaves(&tree.origin);
        for viewer in &mut audience {
            viewer.until("the end", |viewer| viewer.ended.is_some()).await;
            assert_eq!(viewer.objects.len(), 46);
        }
        tree.origin.metric("stentor_stream_bytes_sent_total")
    };
    let (one, many) = (sent(1).await, sent(100).await);
    let difference = one.abs_diff(many) as f64 / one as f64;
    assert!(difference < 0.01, "{one} bytes for one viewer, {many} for a hundred");
}

#[tokio::test]
async fn viewers_see_no_gap_when_the_relay_is_restarted() {
    let origin = Running::start(None).await;
    let relay = Running::start(Some(&origin)).await;
    let addr = relay.addr.to_string();
    // Whom the edge believes does not change: the certificate is another, so it believes anybody here.
    let mut parent = relay.as_parent();
    parent.trust = common::net::tls::Trust::Anybody;
    let host = Host::on_air(&origin, "video");
    host.part(1, 0..3, false);
    let mut viewer = Viewer::by(parent, "video").await;
    viewer.until("the first objects", |viewer| viewer.objects.len() == 3).await;
    relay.stop().await;
    host.part(1, 3..6, true);
    host.group(2, 6);
    let _relay = Running::at(&addr, Door::Open, Some(&origin)).await;
    viewer.until("what was missed", |viewer| viewer.finished == [1, 2]).await;
    host.group(3, 6);
    viewer.until("what came after", |viewer| viewer.finished == [1, 2, 3]).await;
    viewer.saw_all(1..4, 6);
}

#[tokio::test]
async fn namespaces_are_found_through_the_tree() {
    let tree = Tree::grow(1).await;
    let mut known = tree.edges[0].tracks.namespaces();
    let host = Host::on_air(&tree.origin, "video");
    let hall = common::model::Namespace::event("hall").unwrap();
    crate::tree::soon("the namespace", known.wait_for(|known| known.contains_key(&hall))).await.unwrap();
    drop(host);
    crate::tree::soon("its end", known.wait_for(|known| !known.contains_key(&hall))).await.unwrap();
}

#[tokio::test]
async fn a_track_that_nobody_wants_any_more_is_given_back() {
    let tree = Tree::grow(1).await;
    let host = Host::on_air(&tree.origin, "video");
    host.group(0, 2);
    let mut viewer = Viewer::joins(&tree.edges[0], "video").await;
    viewer.until("the group", |viewer| viewer.finished == [0]).await;
    assert_eq!(tree.origin.metric("stentor_subscriptions"), 1);
    viewer.subscriber.close().await;
    drop(viewer.interest);
    crate::tree::soon("the end of the subscription", async {
        while tree.origin.metric("stentor_subscriptions") > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
