// Uploads a file by tus-js-client: node upload.mjs FILE ENDPOINT TOKEN URL_STORE [STOP_AT]
//
// Addresses of unfinished uploads lie in URL_STORE, and an upload that is found there goes on. Prints a line of JSON
// for what happened. At STOP_AT sent bytes it stands still, in the middle of a piece, until it hears something or is killed.
import { createReadStream, readSync, writeSync } from 'node:fs';
import { basename } from 'node:path';
import tus from 'tus-js-client';

const [file, endpoint, token, store, stopAt = Infinity] = process.argv.slice(2);
let stopped = false;
const report = what => writeSync(1, JSON.stringify(what) + '\n');

const upload = new tus.Upload(createReadStream(file), {
  endpoint,
  chunkSize: 128 * 1024,
  headers: { Authorization: `Bearer ${token}` },
  metadata: { filename: basename(file) },
  urlStorage: new tus.FileUrlStorage(store),
  // A server that is started again is away for some seconds.
  retryDelays: Array(100).fill(200),
  onProgress(sent) {
    if (stopped || sent < Number(stopAt)) return;
    stopped = true;
    report({ stopped_at: sent });
    readSync(0, Buffer.alloc(1));
  },
  onAfterResponse(request, response) {
    if (request.getMethod() === 'HEAD') report({ went_on_from: Number(response.getHeader('Upload-Offset')) });
  },
  onSuccess() {
    report({ url: upload.url });
  },
  onError(error) {
    process.exitCode = 1;
    report({ error: String(error) });
  },
});
const [previous] = await upload.findPreviousUploads();
if (previous) upload.resumeFromPreviousUpload(previous);
upload.start();
