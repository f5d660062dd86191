//! Tests how the proxy changes single header fields, according to RFC 9110 and 9112.

use super::*;

fn client() -> Client {
    Client::new([192, 0, 2, 7].into(), false)
}

fn request(uri: &str, fields: &[(&'static str, &'static str)]) -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = uri.parse().expect("a uri");
    for (name, value) in fields {
        request
            .headers_mut()
            .append(*name, HeaderValue::from_static(value));
    }
    request
}

fn prepared(uri: &str, fields: &[(&'static str, &'static str)]) -> (Request<()>, bool) {
    let mut request = request(uri, fields);
    let upgrades = prepare_request(&mut request, &client()).expect("a good request");
    (request, upgrades)
}

fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values
        .map(|value| value.to_str().expect("text").to_owned())
        .collect()
}

#[test]
fn the_target_outranks_host() {
    let (request, _) = prepared("http://right:8080/path?q", &[("host", "wrong")]);
    assert_eq!(request.uri(), "/path?q");
    assert_eq!(all(request.headers(), "host"), ["right:8080"]);
    assert_eq!(all(request.headers(), "x-forwarded-host"), ["right:8080"]);
}

#[test]
fn named_fields_go_but_not_those_that_delimit() {
    let (request, upgrades) = prepared(
        "/",
        &[
            ("host", "a"),
            ("connection", "close, X-Private"),
            ("connection", "content-length, host"),
            ("x-private", "1"),
            ("content-length", "0"),
            ("upgrade", "websocket"), // not named in `Connection`, so no upgrade is requested
            ("proxy-connection", "x"),
            ("te", "deflate"),
        ],
    );
    assert!(!upgrades);
    let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let forwarded = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    assert_eq!(
        names,
        [&["content-length", "forwarded", "host"], &forwarded[..]].concat()
    );
}

#[test]
fn an_upgrade_is_asked_for_anew() {
    let (request, upgrades) = prepared(
        "/",
        &[
            ("host", "a"),
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ],
    );
    assert!(upgrades);
    assert_eq!(all(request.headers(), "connection"), ["upgrade"]);
    assert_eq!(all(request.headers(), "upgrade"), ["websocket"]);
}

#[test]
fn forwarded_for_is_one_list_and_the_rest_is_believed() {
    let (request, _) = prepared(
        "/",
        &[
            ("host", "inner"),
            ("x-forwarded-for", "1.1.1.1, 2.2.2.2"),
            ("x-forwarded-for", "3.3.3.3"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "outer"),
        ],
    );
    let headers = request.headers();
    assert_eq!(
        all(headers, "x-forwarded-for"),
        ["1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7"]
    );
    assert_eq!(all(headers, "x-forwarded-proto"), ["https"]);
    assert_eq!(all(headers, "x-forwarded-host"), ["outer"]);
}

#[test]
fn of_a_response_with_two_lengths_the_coding_counts() {
    let mut response = Response::new(());
    for (name, value) in [
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("etag", "x"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    prepare_response(&mut response);
    let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["etag"]);
}

#[test]
fn forwarded_names_client_protocol_and_host() {
    let (request, _) = prepared("/", &[("host", "a:81"), ("forwarded", "for=1.1.1.1")]);
    assert_eq!(
        all(request.headers(), "forwarded"),
        ["for=1.1.1.1, for=192.0.2.7;proto=http;host=\"a:81\""]
    );
    let mut request = request.map(|()| ());
    request.headers_mut().remove("forwarded");
    let client = Client::new(std::net::Ipv6Addr::LOCALHOST.into(), true);
    prepare_request(&mut request, &client).expect("a good request");
    assert_eq!(
        all(request.headers(), "forwarded"),
        ["for=\"[::1]\";proto=https;host=\"a:81\""]
    );
}

#[test]
fn a_host_is_a_host() {
    for host in ["a b", "a/b", "user@a", "a:b:c", "a\"b"] {
        let mut request = request("/", &[]);
        let value = HeaderValue::from_str(host).expect("text");
        request.headers_mut().insert("host", value);
        let refused = prepare_request(&mut request, &client());
        assert!(refused.is_err(), "{host}");
    }
    for host in ["", "a", "a:80", "[::1]:80", "192.0.2.1"] {
        let mut request = request("/", &[]);
        let value = HeaderValue::from_str(host).expect("text");
        request.headers_mut().insert("host", value);
        prepare_request(&mut request, &client()).expect(host);
    }
}

#[test]
fn http2_becomes_http1_and_back() {
    let mut request = request("http://shop/a?b", &[("cookie", "a=1"), ("cookie", "b=2")]);
    *request.version_mut() = Version::HTTP_2;
    prepare_request(&mut request, &client()).expect("a good request");
    assert_eq!(all(request.headers(), "cookie"), ["a=1; b=2"]);
    assert_eq!(all(request.headers(), "host"), ["shop"]);
    assert_eq!(request.uri(), "/a?b");
    for_http2(&mut request);
    assert_eq!(request.uri(), "http://shop/a?b");
    assert!(!request.headers().contains_key("host"));
}
