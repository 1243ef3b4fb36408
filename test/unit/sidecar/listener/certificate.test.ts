import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeClock } from "../../../../proto/runtime/node-clock.ts";
import { readCertificate, selfSignedCertificate } from "../../../../sidecar/listener/certificate.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

describe("the sidecar's certificate", () => {
  let directory: string;
  const clock = new NodeClock();

  beforeEach(() => {
    directory = join(mkdtempSync(join(tmpdir(), "popmesh-certificate-")), "tls");
  });

  afterEach(() => rmSync(join(directory, ".."), { recursive: true }));

  it("is made once, for localhost by every name, and used again", async () => {
    const made = await selfSignedCertificate(directory, clock);
    assert.deepEqual(await selfSignedCertificate(directory, clock), made);
    const certificate = new X509Certificate(made.certificate);
    assert.equal(certificate.checkHost("localhost"), "localhost");
    assert.equal(certificate.checkIP("127.0.0.1"), "127.0.0.1");
    assert.equal(certificate.checkIP("::1"), "::1");
    assert.equal(certificate.checkHost("example.com"), undefined);
    assert.ok(certificate.verify(certificate.publicKey));
  });

  it("is readable by its owner alone, even where a file with wider rights was", async () => {
    await selfSignedCertificate(directory, clock);
    const files = ["certificate.pem", "private-key.pem"].map((name) => join(directory, name));
    writeFileSync(`${files[1]}.new`, "left behind", { mode: 0o644 });
    writeFileSync(files[1]!, "broken");
    await selfSignedCertificate(directory, clock);
    for (const file of files) assert.equal(statSync(file).mode & 0o777, 0o600);
  });

  it("is made anew when it is broken, does not fit its key, or ends soon", async () => {
    const first = await selfSignedCertificate(directory, clock);
    writeFileSync(join(directory, "certificate.pem"), first.certificate.slice(0, 200));
    const second = await selfSignedCertificate(directory, clock);
    assert.notEqual(second.certificate, first.certificate);
    writeFileSync(join(directory, "private-key.pem"), first.privateKey);
    const third = await selfSignedCertificate(directory, clock);
    assert.notEqual(third.privateKey, second.privateKey);
    const inTenYears = new ManualClock({ wallMs: clock.wallMs() + 3640 * 24 * 3_600_000 });
    const fourth = await selfSignedCertificate(directory, inTenYears);
    assert.notEqual(fourth.certificate, third.certificate);
  });

  it("can be given, and a missing file is named", async () => {
    await selfSignedCertificate(directory, clock);
    const [certificate, key] = ["certificate.pem", "private-key.pem"].map((name) => join(directory, name)) as [
      string,
      string,
    ];
    assert.equal((await readCertificate(certificate, key)).privateKey, readFileSync(key, "utf8"));
    await assert.rejects(readCertificate(certificate, join(directory, "other.pem")), /other\.pem/);
  });
});
