import { createPrivateKey, X509Certificate } from "node:crypto";
import { chmod, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { TlsMaterial } from "./http2/server.ts";

/** How long a certificate made here is valid, and how long before its end a new one is made. */
const validDays = 3650;
const renewDaysBefore = 30;
const dayMs = 24 * 60 * 60 * 1000;

/** Where a certificate of our own is kept; both files are readable by their owner alone. */
const certificateFile = "certificate.pem";
const keyFile = "private-key.pem";

/** Certificate chain and key from two PEM files. Rejects with the system's error, which names the file. */
export async function readCertificate(certificatePath: string, privateKeyPath: string): Promise<TlsMaterial> {
  const [certificate, privateKey] = await Promise.all([
    readFile(certificatePath, "utf8"),
    readFile(privateKeyPath, "utf8"),
  ]);
  return { certificate, privateKey };
}

/**
 * A self-signed certificate for localhost, 127.0.0.1 and ::1, kept in `directory` and made there when there is none, or none
 * that works and stays valid for a while. SDKs whose default is TLS trust any certificate, so this is enough for them; the
 * others can be given `certificate.pem` as their root.
 */
export async function selfSignedCertificate(directory: string, clock: Clock): Promise<TlsMaterial> {
  const certificatePath = join(directory, certificateFile);
  const privateKeyPath = join(directory, keyFile);
  const kept = await readCertificate(certificatePath, privateKeyPath).catch(() => undefined);
  if (kept !== undefined && isUsable(kept, clock.wallMs())) return kept;

  // Loaded only now: it takes 10 MiB, and most starts find their certificate.
  const { generate } = await import("selfsigned");
  const made = await generate([{ name: "commonName", value: "localhost" }], {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    notBeforeDate: new Date(clock.wallMs() - dayMs),
    notAfterDate: new Date(clock.wallMs() + validDays * dayMs),
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", digitalSignature: true, keyCertSign: true, critical: true },
      { name: "extKeyUsage", serverAuth: true },
      {
        name: "subjectAltName",
        altNames: [
          { type: 2, value: "localhost" },
          { type: 7, ip: "127.0.0.1" },
          { type: 7, ip: "::1" },
        ],
      },
    ],
  });
  const material = { certificate: made.cert, privateKey: made.private };
  await mkdir(directory, { recursive: true });
  await writePrivately(privateKeyPath, material.privateKey);
  await writePrivately(certificatePath, material.certificate);
  return material;
}

/** The key belongs to the certificate, and there is time until it ends. */
function isUsable(material: TlsMaterial, nowMs: number): boolean {
  try {
    const certificate = new X509Certificate(material.certificate);
    const belongs = certificate.checkPrivateKey(createPrivateKey(material.privateKey));
    return belongs && Date.parse(certificate.validTo) - nowMs > renewDaysBefore * dayMs;
  } catch {
    return false;
  }
}

/** Whole or not at all, and never readable by others, whatever was there before. */
async function writePrivately(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  await writeFile(temporary, text, { mode: 0o600 });
  await chmod(temporary, 0o600);
  await rename(temporary, path);
}
