from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from integ_server import callbacks
from integ_server.callbacks import CallbackRefusedError, CallbackSender, is_household, is_public, open_callbacks, parse_callback, resolve
from integ_server.contract.errors import UsageError

PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "fd12::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::1",
    "2002:c0a8:101::1",
    "2001:0:0:0:0:0:80ff:fffe",
]
PUBLIC = ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_of_a_network_of_ones_own_is_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address)) and not is_household(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.168.1.1", "10.0.0.1", "100.64.0.1", "fd12::1", "::ffff:192.168.1.1"])
def test_a_household_may_open_its_own_networks(address: str) -> None:
    assert is_household(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "0.1.2.3", "255.255.255.255", "::", "::ffff:a9fe:a9fe"]
)
def test_even_a_household_does_not_open_what_answers_on_a_link_alone(address: str) -> None:
    assert not is_household(ipaddress.ip_address(address))


def _meaning(*addresses: str) -> Callable[[str, int], Awaitable[list[str]]]:
    async def lookup(host: str, port: int) -> list[str]:
        return list(addresses)

    return lookup


@asynccontextmanager
async def _sender(*addresses: str, allow_private: bool = False) -> AsyncIterator[CallbackSender]:
    async with open_callbacks(allow_private=allow_private, lookup=_meaning(*addresses)) as sender:
        yield sender


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/x",
        "ftp://hooks.example/x",
        "file:///etc/passwd",
        "gopher://hooks.example/",
        "//hooks.example/",
        "hooks.example",
        "https://",
        "https:///x",
        "https://user@hooks.example/",
        "https://user:word@hooks.example/",
        "https://hooks.example@127.0.0.1/",
        "https://127.0.0.1\\@hooks.example/",
        "https://hooks.example/a b",
        "https://hooks.example/\r\nX: y",
        "https://hooks.example/#part",
        "https://hooks.example:22/",
        "https://hooks.example:0/",
        "https://hooks.example:6379/",
        "https://hooks.example:99999/",
        "https://hooks.example:x/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://017700000001/",
        "https://①②⑦.⓪.⓪.①/",
        "https://１２７.０.０.１/",
        "https://[::1%25eth0]/",
        "https://[::1/",
        "https://%31%32%37.0.0.1/",
        "https://hooks.example。/",
    ],
)
async def test_an_address_that_plays_tricks_is_refused_before_anybody_is_asked(url: str) -> None:
    asked: list[str] = []

    async def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["8.8.8.8"]

    async with open_callbacks(allow_private=False, lookup=lookup) as sender:
        with pytest.raises(UsageError):
            await sender.check(url)
    assert asked == []


@pytest.mark.parametrize(
    "url", ["https://hooks.example/x", "https://hooks.example:8443/x?y=z", "https://hooks.example./", "https://[2606:4700::1111]/"]
)
async def test_an_ordinary_address_is_taken(url: str) -> None:
    async with _sender("8.8.8.8", "2606:4700::1111") as sender:
        callback, addresses = await sender.check(url)
        assert callback.scheme == "https" and addresses


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_means_a_private_address_is_refused(address: str) -> None:
    for meaning in ((address,), ("8.8.8.8", address), (address, "8.8.8.8")):
        async with _sender(*meaning) as sender:
            with pytest.raises(CallbackRefusedError):
                await sender.check("https://hooks.example/")


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_private_address_itself_is_refused(address: str) -> None:
    async with open_callbacks(allow_private=False) as sender:
        with pytest.raises(CallbackRefusedError):
            await sender.check(f"https://[{address}]/" if ":" in address else f"https://{address}/")


@pytest.mark.parametrize("url", ["https://localhost/", "https://localhost./", "https://LOCALHOST/"])
async def test_the_systems_own_names_are_looked_up_too(url: str) -> None:
    async with open_callbacks(allow_private=False) as sender:
        with pytest.raises(CallbackRefusedError):
            await sender.check(url)


async def test_a_name_that_means_nothing_is_refused() -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    async with _sender() as sender, open_callbacks(allow_private=False, lookup=unknown) as without:
        for each in (sender, without):
            with pytest.raises(CallbackRefusedError):
                await each.check("https://hooks.example/")


async def test_a_household_still_needs_tls_for_the_internet() -> None:
    async with _sender("8.8.8.8", allow_private=True) as sender:
        with pytest.raises(CallbackRefusedError):
            await sender.check("http://hooks.example/")
    async with _sender("169.254.169.254", allow_private=True) as sender:
        with pytest.raises(CallbackRefusedError):
            await sender.check("http://metadata.example/")


@dataclass
class Receiver:
    """A server on loopback that notes what arrives, and answers as it is told."""

    answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n"
    heard: list[bytes] = field(default_factory=list)
    port: int = 0

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            self.heard.append(head + await reader.readexactly(length))
            writer.write(self.answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self


async def test_a_request_goes_to_what_was_checked_under_the_name_it_was_asked_for() -> None:
    lookups: list[str] = []

    async def turning(host: str, port: int) -> list[str]:
        lookups.append(host)
        return ["127.0.0.1"] if len(lookups) == 1 else ["10.0.0.1"]

    async with Receiver().listening() as receiver, open_callbacks(allow_private=True, lookup=turning) as sender:
        answer = await sender.post(f"http://hooks.example:{receiver.port}/a?b=c", b"body", {"webhook-id": "1"})
    assert (answer.status, lookups) == (204, ["hooks.example"]), "looked up once, and that is where it went"
    (heard,) = receiver.heard
    head, body = heard.split(b"\r\n\r\n")
    assert head.startswith(b"POST /a?b=c HTTP/1.1\r\n") and body == b"body"
    assert f"host: hooks.example:{receiver.port}".encode() in head.lower()


async def test_a_name_that_turns_private_after_it_was_checked_is_refused() -> None:
    meanings = [["8.8.8.8"], ["127.0.0.1"]]

    async def turning(host: str, port: int) -> list[str]:
        return meanings.pop(0)

    async with open_callbacks(allow_private=False, lookup=turning) as sender:
        await sender.check("https://hooks.example/")
        with pytest.raises(CallbackRefusedError):
            await sender.post("https://hooks.example/", b"", {})


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    inner = Receiver()
    async with inner.listening(), open_callbacks(allow_private=True) as sender:
        redirects = Receiver(f"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:{inner.port}/\r\nContent-Length: 0\r\n\r\n".encode())
        async with redirects.listening():
            assert (await sender.post(f"http://127.0.0.1:{redirects.port}/", b"{}", {})).status == 307
    assert inner.heard == []


async def test_an_endless_answer_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = Receiver(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
    async with endless.listening() as receiver, open_callbacks(allow_private=True) as sender, asyncio.timeout(5):
        assert (await sender.post(f"http://127.0.0.1:{receiver.port}/", b"", {})).status == 200


async def test_a_receiver_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "TIMEOUT_S", 0.2)
    silent = Receiver(b"HTTP/1.1 200")
    silent.answer = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, open_callbacks(allow_private=True) as sender:
        with pytest.raises(httpx.TimeoutException):
            await sender.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"", {})


async def test_another_of_its_addresses_is_tried_when_one_is_closed() -> None:
    async with Receiver().listening() as receiver, _sender("127.0.0.2", "127.0.0.1", allow_private=True) as sender:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tests.conftest.LOOPBACK", {"127.0.0.1", "127.0.0.2"})
            assert (await sender.post(f"http://hooks.example:{receiver.port}/", b"", {})).status == 204


def _certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server called *name*, and for a client that trusts it alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now + timedelta(hours=1))
    signed = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False).sign(key, hashes.SHA256())
    file = folder / "server.pem"
    no_word = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_word)
    file.write_bytes(pem + signed.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=signed.public_bytes(serialization.Encoding.PEM).decode())


async def test_the_certificate_has_to_be_that_of_the_name(tmp_path: Path) -> None:
    server, client = _certificate(tmp_path, "hooks.example")
    async with (
        Receiver().listening(server) as receiver,
        open_callbacks(allow_private=True, tls=client, lookup=_meaning("127.0.0.1")) as sender,
    ):
        assert (await sender.post(f"https://hooks.example:{receiver.port}/", b"", {})).status == 204
        with pytest.raises(httpx.ConnectError):
            await sender.post(f"https://other.example:{receiver.port}/", b"", {})


def test_parts_are_kept_as_they_stand() -> None:
    callback = parse_callback("https://hooks.example:8443/a%2Fb?c=d", allow_private=False)
    assert (callback.host, callback.port, callback.target, callback.netloc) == ("hooks.example", 8443, "/a%2Fb?c=d", "hooks.example:8443")
    assert parse_callback("https://[2606:4700::1111]", allow_private=False).netloc == "[2606:4700::1111]"


async def test_the_systems_resolver_answers_addresses() -> None:
    assert set(await resolve("localhost", 443)) <= {"127.0.0.1", "::1"}
