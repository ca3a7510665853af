//! RTMP, with ffmpeg as the encoder.

use origin::media::{Input, Kind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    http::Boxes,
    origin::{DEADLINE, Origin, encoder, finish, samples},
};

const REALTIME: &[&str] = &["-re"];

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_of_an_encoder_arrives_with_its_times() {
    let mut origin = Origin::start(Boxes::boxed).await;
    let url = origin.rtmp_url("good");
    let (ended, inputs) = tokio::join!(finish(encoder(&[], &["-f", "flv", &url])), origin.until_break());
    assert!(ended.0.status.success(), "{}", ended.1);

    let position = |wanted: fn(&Input) -> bool| inputs.iter().position(wanted).unwrap();
    let video = position(|i| matches!(i, Input::Video(config) if config.timescale == 1000));
    let audio = position(|i| matches!(i, Input::Audio(config) if config.sample_rate == 48000));
    assert!(video.max(audio) < position(|i| matches!(i, Input::Sample(_))));

    let video = samples(&inputs, Kind::Video);
    assert_eq!(video.len(), 120);
    assert!(video.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    let keys: Vec<_> = (0..).zip(&video).filter(|(_, s)| s.key).map(|(i, _)| i).collect();
    assert_eq!(keys, [0, 30, 60, 90]);
    assert!(video.iter().any(|s| s.pts - s.dts > 100) && video.iter().any(|s| s.pts - s.dts < 40));
    let mut shown: Vec<_> = video.iter().map(|s| s.pts).collect();
    shown.sort_unstable();
    assert!(shown.windows(2).all(|pair| (33..=34).contains(&(pair[1] - pair[0]))));

    let audio = samples(&inputs, Kind::Audio);
    assert!((187..=190).contains(&audio.len()), "{} frames of 1024 in 4 s", audio.len());
    assert!(audio.windows(2).all(|pair| (21..=22).contains(&(pair[1].dts - pair[0].dts))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_with_a_wrong_key_is_told_why() {
    let mut origin = Origin::start(Boxes::boxed).await;
    for (key, said, fault) in [
        ("bad", "the stream key or token is not valid", "rtmp refused"),
        ("other", "event elsewhere is not open", "rtmp no_event"),
        ("show?t=viewer", "a host's token is needed", "rtmp refused"),
        ("elsewhere?t=good", "belongs to another event", "rtmp refused"),
    ] {
        let (ended, text) = finish(encoder(&[], &["-f", "flv", &origin.rtmp_url(key)])).await;
        assert!(!ended.status.success() && text.contains(said), "{key}: {text}");
        assert_eq!(origin.fault().await, fault);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_comes_back_takes_its_place() {
    let mut origin = Origin::start(Boxes::boxed).await;
    let url = origin.rtmp_url("show?t=good");
    let first = encoder(REALTIME, &["-f", "flv", &url]).spawn().expect("install ffmpeg");
    while !matches!(origin.next().await, Input::Sample(_)) {}
    let second = tokio::spawn(finish(encoder(&[], &["-f", "flv", &url])));
    origin.until_break().await;
    let inputs = origin.until_break().await;
    assert!(matches!(inputs[0], Input::Video(_) | Input::Audio(_)), "{:?}", inputs[0]);
    assert_eq!(samples(&inputs, Kind::Video).len(), 120);
    assert!(second.await.unwrap().0.status.success());
    assert_eq!(origin.fault().await, "rtmp replaced");
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_codec_that_nobody_can_play_is_named_to_the_encoder() {
    let mut origin = Origin::start(Boxes::boxed).await;
    let url = origin.rtmp_url("good");
    let (ended, _) = finish(encoder(REALTIME, &["-c:v", "flv", "-bf", "0", "-f", "flv", &url])).await;
    assert!(!ended.status.success());
    assert_eq!(origin.fault().await, "rtmp unsupported");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_company_does_not_disturb_a_host() {
    let mut origin = Origin::start(Boxes::boxed).await;
    let url = origin.rtmp_url("good");
    let host = tokio::spawn(finish(encoder(REALTIME, &["-f", "flv", &url])));
    while !matches!(origin.next().await, Input::Sample(_)) {}

    // One byte of a handshake, and then nothing: it stays to the end.
    let mut dawdler = TcpStream::connect(origin.rtmp).await.unwrap();
    dawdler.write_all(&[3]).await.unwrap();
    drop(TcpStream::connect(origin.rtmp).await.unwrap());
    assert_eq!(says(&mut origin, b"GET / HTTP/1.1\r\n\r\n").await, "rtmp malformed");
    let hello = [&[3][..], &[0; 2 * 1536]].concat();
    assert_eq!(says(&mut origin, &[&hello[..], &[0xff; 99]].concat()).await, "rtmp malformed");
    let endless = b"\x03\0\0\0\0\0\x05\x14\0\0\0\0\x0a\xff\xff\xff\xff";
    assert_eq!(says(&mut origin, &[&hello[..], endless].concat()).await, "rtmp malformed");
    let huge = b"\x03\0\0\0\xff\xff\xff\x14\0\0\0\0";
    assert_eq!(says(&mut origin, &[&hello[..], huge].concat()).await, "rtmp too_large");
    let (ended, _) = finish(encoder(&[], &["-f", "flv", &origin.rtmp_url("bad")])).await;
    assert!(!ended.status.success());
    assert_eq!(origin.fault().await, "rtmp refused");

    let inputs = origin.until_break().await;
    assert!(host.await.unwrap().0.status.success());
    let video = samples(&inputs, Kind::Video);
    let times: Vec<_> = video.windows(2).map(|pair| pair[1].dts - pair[0].dts).collect();
    assert!(times.len() > 30 && times.iter().all(|step| (33..=34).contains(step)), "{times:?}");
    assert_eq!(samples(&inputs, Kind::Audio).windows(2).filter(|p| p[1].dts - p[0].dts > 22).count(), 0);
}

/// Says `bytes` to the origin, waits until it hangs up, and gives the fault it counted.
async fn says(origin: &mut Origin, bytes: &[u8]) -> String {
    let mut tcp = TcpStream::connect(origin.rtmp).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    // Either end is one: an orderly close, or a reset because it left something unread.
    let _ = timeout(DEADLINE, tcp.read_to_end(&mut Vec::new())).await.expect("the origin hangs up in time");
    origin.fault().await
}
