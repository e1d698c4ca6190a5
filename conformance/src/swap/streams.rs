//! Clients of a swap run that hold one WebSocket or one gRPC stream from its beginning to its end.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, Request, StatusCode, header};
use tokio_tungstenite::tungstenite::Message;

use super::requests::Target;
use super::score::Turn;
use super::snapshots::HOST;

/// A WebSocket: a message, its echo, and so on; closed in order at the end.
pub(super) async fn websocket(target: Target, turn: Turn) {
    let result = echo_messages(&target, &turn).await;
    turn.ended(result);
}

async fn echo_messages(target: &Target, turn: &Turn) -> Result<()> {
    let url = format!("ws://{HOST}/socket");
    let (mut socket, _) = tokio_tungstenite::client_async(url, target.plain().await?).await.context("upgrade")?;
    let mut count = 0_u64;
    while !turn.over() {
        let text = format!("message {count}");
        let start = Instant::now();
        socket.send(Message::text(text.clone())).await.context("the WebSocket broke")?;
        let echo = socket.next().await.context("the WebSocket was closed")?.context("the WebSocket broke")?;
        ensure!(echo == Message::text(text), "another message: {echo:?}");
        turn.answered(start.elapsed()).await;
        count += 1;
    }
    socket.close(None).await.context("closing")?;
    while let Some(message) = socket.next().await {
        message.context("the WebSocket broke instead of closing")?;
    }
    Ok(())
}

/// A gRPC stream in both directions: a message, its echo, and so on; ended with status 0.
pub(super) async fn grpc(target: Target, turn: Turn) {
    let result = echo_frames(&target, &turn).await;
    turn.ended(result);
}

async fn echo_frames(target: &Target, turn: &Turn) -> Result<()> {
    let (sender, connection) = h2::client::handshake(target.plain().await?).await?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{HOST}/swap.Echo/Both"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers");
    let (response, mut out) = sender.ready().await?.send_request(request.body(())?, false)?;
    let response = response.await.context("no response")?;
    ensure!(response.status() == StatusCode::OK, "status {}", response.status());
    let refused = response.headers().get("grpc-status");
    ensure!(refused.is_none(), "refused: {:?}", response.headers());
    let mut body = response.into_body();
    let mut count = 0_u64;
    while !turn.over() {
        let message = frame(count);
        let start = Instant::now();
        out.send_data(message.clone(), false).context("the stream was closed")?;
        let mut echo = BytesMut::new();
        while echo.len() < message.len() {
            let data = body.data().await.context("the stream was closed")?.context("the stream broke")?;
            body.flow_control().release_capacity(data.len())?;
            echo.extend_from_slice(&data);
        }
        ensure!(echo == message, "another message: {echo:?}");
        turn.answered(start.elapsed()).await;
        count += 1;
    }
    out.send_data(Bytes::new(), true)?;
    ensure!(body.data().await.is_none(), "bytes after the last message");
    let trailers = body.trailers().await.context("the stream broke instead of ending")?.context("no trailers")?;
    ensure!(trailers.get("grpc-status").is_some_and(|status| status == "0"), "trailers {trailers:?}");
    driver.abort();
    Ok(())
}

/// A gRPC message: not compressed, its length, its bytes.
fn frame(count: u64) -> Bytes {
    let text = format!("message {count}");
    let mut frame = BytesMut::with_capacity(5 + text.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    frame.put_slice(text.as_bytes());
    frame.freeze()
}
