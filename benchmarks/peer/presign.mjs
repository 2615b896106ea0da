// Seconds that the AWS SDK for JavaScript takes to presign this many parts: node presign.mjs 10000
import { S3Client, UploadPartCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';

const parts = Number(process.argv[2] ?? 10000);
const client = new S3Client({
  region: 'eu-west-1',
  endpoint: 'http://lab:3200',
  forcePathStyle: true,
  credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret'.repeat(7) },
  requestChecksumCalculation: 'WHEN_REQUIRED',
});
const started = process.hrtime.bigint();
const urls = [];
for (let number = 1; number <= parts; number += 1) {
  urls.push(
    getSignedUrl(
      client,
      new UploadPartCommand({
        Bucket: 'bucket',
        Key: 'sessions/20260206_143052/recording.mp4',
        PartNumber: number,
        UploadId: 'upload'.repeat(10),
      }),
      { expiresIn: 3600 },
    ),
  );
}
const signed = await Promise.all(urls);
if (new Set(signed).size !== parts) throw new Error('not every URL is its own');
console.log(Number(process.hrtime.bigint() - started) / 1e9);
